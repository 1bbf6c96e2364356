-- Amounts are 32 bytes, big-endian; ids, addresses, keys and signatures their bytes; times Unix ns.

-- The one row that says with which master key the store was made. `settled` is counted up to make certain
-- that nothing of a failed commit is left.
CREATE TABLE store (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    verifier BLOB NOT NULL,
    verifier_hash BLOB NOT NULL CHECK (length(verifier_hash) = 32),
    settled INTEGER NOT NULL DEFAULT 0
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
    earned BLOB NOT NULL CHECK (length(earned) = 32),
    surplus BLOB NOT NULL CHECK (length(surplus) = 32),
    sales INTEGER NOT NULL CHECK (sales >= 0)
) STRICT;

CREATE TABLE sale (
    id INTEGER PRIMARY KEY,
    channel_id BLOB NOT NULL REFERENCES channel (channel_id),
    seq INTEGER NOT NULL CHECK (seq BETWEEN 0 AND 4294967295),
    balance BLOB NOT NULL CHECK (length(balance) = 32),
    before_seq INTEGER NOT NULL CHECK (before_seq BETWEEN 0 AND 4294967295),
    before_balance BLOB NOT NULL CHECK (length(before_balance) = 32),
    key_id BLOB NOT NULL CHECK (length(key_id) = 16),
    buyer_key BLOB NOT NULL CHECK (length(buyer_key) = 32),
    amount BLOB NOT NULL CHECK (length(amount) = 32),
    surplus BLOB NOT NULL CHECK (length(surplus) = 32),
    sealed_key BLOB NOT NULL CHECK (length(sealed_key) = 80),
    market_maker_signature BLOB NOT NULL CHECK (length(market_maker_signature) = 65),
    signature BLOB NOT NULL CHECK (length(signature) = 65),
    UNIQUE (channel_id, seq)
) STRICT;

-- Closes that were countersigned; at most one of a channel is final.
CREATE TABLE channel_close (
    id INTEGER PRIMARY KEY,
    channel_id BLOB NOT NULL REFERENCES channel (channel_id),
    seq INTEGER NOT NULL CHECK (seq BETWEEN 0 AND 4294967295),
    balance BLOB NOT NULL CHECK (length(balance) = 32),
    before_seq INTEGER NOT NULL CHECK (before_seq BETWEEN 0 AND 4294967295),
    before_balance BLOB NOT NULL CHECK (length(before_balance) = 32),
    surplus BLOB NOT NULL CHECK (length(surplus) = 32),
    is_final INTEGER NOT NULL CHECK (is_final IN (0, 1)),
    market_maker_signature BLOB NOT NULL CHECK (length(market_maker_signature) = 65),
    signature BLOB NOT NULL CHECK (length(signature) = 65),
    UNIQUE (channel_id, seq, is_final)
) STRICT;

CREATE UNIQUE INDEX channel_close_final ON channel_close (channel_id) WHERE is_final = 1;

-- `sealed_key` is nonce, tag, key id and data key in a secretbox under the master key; null once the key is
-- retired.
CREATE TABLE data_key (
    id INTEGER PRIMARY KEY,
    key_id BLOB NOT NULL UNIQUE CHECK (length(key_id) = 16),
    api_id BLOB NOT NULL CHECK (length(api_id) = 16),
    sealed_key BLOB CHECK (length(sealed_key) = 88),
    price BLOB NOT NULL CHECK (length(price) = 32),
    created_ns INTEGER NOT NULL CHECK (created_ns >= 0),
    expires_ns INTEGER CHECK (expires_ns >= 0),
    offered_ns INTEGER CHECK (offered_ns >= 0)
) STRICT;

-- A sale has the three columns that a close has not, and a close has `is_final`.
CREATE TABLE evidence (
    id INTEGER PRIMARY KEY,
    received_ns INTEGER NOT NULL CHECK (received_ns >= 0),
    reject TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('sell', 'close')),
    market_maker BLOB NOT NULL CHECK (length(market_maker) = 20),
    channel_id BLOB NOT NULL CHECK (length(channel_id) = 16),
    seq INTEGER NOT NULL CHECK (seq BETWEEN 0 AND 4294967295),
    balance BLOB NOT NULL CHECK (length(balance) = 32),
    signature BLOB NOT NULL CHECK (length(signature) = 65),
    buyer_key BLOB CHECK (iif(kind = 'sell', length(buyer_key) IS 32, buyer_key IS NULL)),
    key_id BLOB CHECK (iif(kind = 'sell', length(key_id) IS 16, key_id IS NULL)),
    amount BLOB CHECK (iif(kind = 'sell', length(amount) IS 32, amount IS NULL)),
    is_final INTEGER CHECK (iif(kind = 'close', is_final IS 0 OR is_final IS 1, is_final IS NULL))
) STRICT;
