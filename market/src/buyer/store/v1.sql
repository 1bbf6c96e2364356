-- Amounts are 32 bytes, big-endian; ids, addresses, keys and signatures their bytes.

-- The one row: with which master key the store was made, and the X25519 secret key, both in a secretbox under it.
CREATE TABLE buyer (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    receive_key BLOB NOT NULL
) STRICT;

CREATE TABLE channel (
    id INTEGER PRIMARY KEY,
    channel_id BLOB NOT NULL UNIQUE CHECK (length(channel_id) = 16),
    market_id BLOB NOT NULL CHECK (length(market_id) = 16),
    market_maker BLOB NOT NULL CHECK (length(market_maker) = 20),
    delegate BLOB NOT NULL CHECK (length(delegate) = 20),
    amount BLOB NOT NULL CHECK (length(amount) = 32),
    chain_id BLOB NOT NULL CHECK (length(chain_id) = 32),
    verifying_contract BLOB NOT NULL CHECK (length(verifying_contract) = 20),
    close_at BLOB NOT NULL CHECK (length(close_at) = 32),
    adopted_seq INTEGER NOT NULL CHECK (adopted_seq BETWEEN 0 AND 4294967295),
    adopted_balance BLOB NOT NULL CHECK (length(adopted_balance) = 32),
    seq INTEGER NOT NULL CHECK (seq BETWEEN 0 AND 4294967295),
    balance BLOB NOT NULL CHECK (length(balance) = 32),
    spent BLOB NOT NULL CHECK (length(spent) = 32),
    lost BLOB NOT NULL CHECK (length(lost) = 32),
    regained BLOB NOT NULL CHECK (length(regained) = 32),
    purchases INTEGER NOT NULL CHECK (purchases >= 0)
) STRICT;

-- Every payment that was signed. Settled, it has the state that the channel stood at then, and a bought one the
-- market maker's signature over it.
CREATE TABLE payment (
    id INTEGER PRIMARY KEY,
    channel_id BLOB NOT NULL REFERENCES channel (channel_id),
    key_id BLOB NOT NULL CHECK (length(key_id) = 16),
    before_seq INTEGER NOT NULL CHECK (before_seq BETWEEN 0 AND 4294967295),
    before_balance BLOB NOT NULL CHECK (length(before_balance) = 32),
    seq INTEGER NOT NULL CHECK (seq BETWEEN 0 AND 4294967295),
    balance BLOB NOT NULL CHECK (length(balance) = 32),
    amount BLOB NOT NULL CHECK (length(amount) = 32),
    signature BLOB NOT NULL CHECK (length(signature) = 65),
    state TEXT NOT NULL CHECK (state IN ('pending', 'bought', 'given_up', 'written_off')),
    settled_seq INTEGER CHECK (settled_seq BETWEEN 0 AND 4294967295),
    settled_balance BLOB CHECK (length(settled_balance) = 32),
    market_maker_signature BLOB CHECK (length(market_maker_signature) = 65),
    CHECK ((state = 'pending') = (settled_seq IS NULL)),
    CHECK ((state = 'pending') = (settled_balance IS NULL)),
    CHECK ((state = 'bought') = (market_maker_signature IS NOT NULL))
) STRICT;

CREATE UNIQUE INDEX payment_pending ON payment (channel_id) WHERE state = 'pending';
CREATE INDEX payment_written_off ON payment (key_id) WHERE state = 'written_off';

-- `sealed_key` is nonce, tag, key id and data key in a secretbox under the master key.
CREATE TABLE data_key (
    id INTEGER PRIMARY KEY,
    key_id BLOB NOT NULL UNIQUE CHECK (length(key_id) = 16),
    sealed_key BLOB NOT NULL CHECK (length(sealed_key) = 88)
) STRICT;
