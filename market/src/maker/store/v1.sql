-- Amounts are 32 bytes, big-endian; ids, addresses, keys and signatures their bytes; times Unix nanoseconds.

-- The one row: which market maker's books these are, and what every signature in them is bound to.
CREATE TABLE market (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    market_id BLOB NOT NULL CHECK (length(market_id) = 16),
    market_maker BLOB NOT NULL CHECK (length(market_maker) = 20),
    chain_id BLOB NOT NULL CHECK (length(chain_id) = 32),
    verifying_contract BLOB NOT NULL CHECK (length(verifying_contract) = 20),
    close_at BLOB NOT NULL CHECK (length(close_at) = 32)
) STRICT;

-- Payment channels (kind 1) and paying channels (kind 2), in the order of their opening.
CREATE TABLE channel (
    id INTEGER PRIMARY KEY,
    channel_id BLOB NOT NULL UNIQUE CHECK (length(channel_id) = 16),
    kind INTEGER NOT NULL CHECK (kind IN (1, 2)),
    actor BLOB NOT NULL CHECK (length(actor) = 20),
    delegate BLOB NOT NULL CHECK (length(delegate) = 20),
    recipient BLOB NOT NULL CHECK (length(recipient) = 20),
    amount BLOB NOT NULL CHECK (length(amount) = 32),
    opened_ns INTEGER NOT NULL CHECK (opened_ns >= 0),
    version INTEGER NOT NULL CHECK (version >= 1),
    seq INTEGER NOT NULL CHECK (seq BETWEEN 0 AND 4294967295),
    balance BLOB NOT NULL CHECK (length(balance) = 32),
    agreed_seq INTEGER NOT NULL CHECK (agreed_seq BETWEEN 0 AND 4294967295),
    agreed_balance BLOB NOT NULL CHECK (length(agreed_balance) = 32),
    settled BLOB NOT NULL CHECK (length(settled) = 32),
    conceded BLOB NOT NULL CHECK (length(conceded) = 32),
    -- Of a closed channel: the block that its delegate signed the state for, and the signature.
    close_at BLOB CHECK (length(close_at) = 32),
    delegate_signature BLOB CHECK (length(delegate_signature) = 65),
    CHECK ((close_at IS NULL) = (delegate_signature IS NULL))
) STRICT;

CREATE TABLE offer (
    id INTEGER PRIMARY KEY,
    key_id BLOB NOT NULL UNIQUE CHECK (length(key_id) = 16),
    offer_id BLOB NOT NULL UNIQUE CHECK (length(offer_id) = 16),
    api_id BLOB NOT NULL CHECK (length(api_id) = 16),
    uri TEXT NOT NULL,
    seller BLOB NOT NULL CHECK (length(seller) = 20),
    provider_id TEXT NOT NULL,
    price BLOB NOT NULL CHECK (length(price) = 32),
    categories BLOB NOT NULL, -- a CBOR map of texts
    placed_ns INTEGER NOT NULL CHECK (placed_ns >= 0),
    valid_from_ns INTEGER NOT NULL,
    expires_ns INTEGER,
    copies INTEGER,
    copies_left INTEGER,
    signature BLOB NOT NULL CHECK (length(signature) = 65),
    session INTEGER,
    authid TEXT,
    revoked INTEGER NOT NULL CHECK (revoked IN (0, 1)),
    CHECK ((copies IS NULL) = (copies_left IS NULL))
) STRICT;

-- Every purchase, numbered without gaps. `sale_*` is how the seller is paid.
CREATE TABLE purchase (
    id INTEGER PRIMARY KEY,
    key_id BLOB NOT NULL CHECK (length(key_id) = 16),
    buyer_key BLOB NOT NULL CHECK (length(buyer_key) = 32),
    buyer BLOB NOT NULL CHECK (length(buyer) = 20),
    price BLOB NOT NULL CHECK (length(price) = 32),
    payment_channel BLOB NOT NULL REFERENCES channel (channel_id),
    payment_seq INTEGER NOT NULL CHECK (payment_seq BETWEEN 0 AND 4294967295),
    payment_balance BLOB NOT NULL CHECK (length(payment_balance) = 32),
    payment_signature BLOB NOT NULL CHECK (length(payment_signature) = 65),
    offer_id BLOB NOT NULL CHECK (length(offer_id) = 16),
    seller BLOB NOT NULL CHECK (length(seller) = 20),
    provider_id TEXT NOT NULL,
    reserved_ns INTEGER NOT NULL CHECK (reserved_ns >= 0),
    sale_channel BLOB REFERENCES channel (channel_id),
    sale_seq INTEGER CHECK (sale_seq BETWEEN 0 AND 4294967295),
    sale_balance BLOB CHECK (length(sale_balance) = 32),
    stage TEXT NOT NULL CHECK (stage IN ('reserved', 'settled', 'refused')),
    ended_ns INTEGER CHECK (ended_ns >= 0),
    refusal TEXT,
    sealed_key BLOB CHECK (length(sealed_key) = 80),
    seller_signature BLOB CHECK (length(seller_signature) = 65),
    signature BLOB CHECK (length(signature) = 65),
    inflight BLOB CHECK (length(inflight) = 32),
    CHECK ((sale_channel IS NULL) = (sale_seq IS NULL) AND (sale_seq IS NULL) = (sale_balance IS NULL)),
    CHECK ((stage = 'reserved') = (ended_ns IS NULL)),
    CHECK ((stage = 'refused') = (refusal IS NOT NULL)),
    CHECK ((stage = 'settled') = (sealed_key IS NOT NULL)),
    CHECK ((sealed_key IS NULL) = (seller_signature IS NULL)),
    CHECK ((sealed_key IS NULL) = (signature IS NULL)),
    CHECK ((sealed_key IS NULL) = (inflight IS NULL)),
    CHECK (sealed_key IS NULL OR sale_channel IS NOT NULL)
) STRICT;

-- A state that counts pays for one purchase. That of a refused one may be signed anew.
CREATE UNIQUE INDEX purchase_payment ON purchase (payment_channel, payment_seq) WHERE stage <> 'refused';
CREATE UNIQUE INDEX purchase_sale ON purchase (sale_channel, sale_seq) WHERE stage = 'settled';
CREATE INDEX purchase_reserved ON purchase (id) WHERE stage = 'reserved';
