-- Closes that the seller signed by itself, of each channel the last one: final, for the block `close_at`.
CREATE TABLE own_close (
    id INTEGER PRIMARY KEY,
    channel_id BLOB NOT NULL UNIQUE REFERENCES channel (channel_id),
    seq INTEGER NOT NULL CHECK (seq BETWEEN 0 AND 4294967295),
    balance BLOB NOT NULL CHECK (length(balance) = 32),
    close_at BLOB NOT NULL CHECK (length(close_at) = 32),
    signature BLOB NOT NULL CHECK (length(signature) = 65)
) STRICT;

-- What the market maker said of a channel when it was last compared with `seq` and `balance`. It says nothing
-- of a channel that has moved on since.
CREATE TABLE comparison (
    id INTEGER PRIMARY KEY,
    channel_id BLOB NOT NULL UNIQUE REFERENCES channel (channel_id),
    seq INTEGER NOT NULL CHECK (seq BETWEEN 0 AND 4294967295),
    balance BLOB NOT NULL CHECK (length(balance) = 32),
    their_seq INTEGER NOT NULL CHECK (their_seq BETWEEN 0 AND 4294967295),
    their_balance BLOB NOT NULL CHECK (length(their_balance) = 32)
) STRICT;

-- The archive by age, and the few keys in it that still have to be offered.
CREATE INDEX data_key_age ON data_key (api_id, created_ns, key_id) WHERE sealed_key IS NOT NULL;
CREATE INDEX data_key_unoffered ON data_key (api_id, created_ns, key_id)
    WHERE sealed_key IS NOT NULL AND offered_ns IS NULL;
