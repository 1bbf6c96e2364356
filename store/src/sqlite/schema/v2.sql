-- `mac` authenticates a row under the master key: see the module `vault`. Every row gets its own when a migration
-- is through.
ALTER TABLE channel ADD COLUMN is_closed INTEGER NOT NULL DEFAULT 0 CHECK (is_closed IN (0, 1));
UPDATE channel SET is_closed = 1
WHERE channel_id IN (SELECT channel_id FROM channel_close WHERE is_final = 1);

ALTER TABLE channel ADD COLUMN mac BLOB CHECK (length(mac) = 16);
ALTER TABLE sale ADD COLUMN mac BLOB CHECK (length(mac) = 16);
ALTER TABLE channel_close ADD COLUMN mac BLOB CHECK (length(mac) = 16);
ALTER TABLE data_key ADD COLUMN mac BLOB CHECK (length(mac) = 16);
ALTER TABLE evidence ADD COLUMN mac BLOB CHECK (length(mac) = 16);

-- Closes that the seller signed by itself, of each channel the last one: final, for the block `close_at`.
CREATE TABLE own_close (
    id INTEGER PRIMARY KEY,
    channel_id BLOB NOT NULL UNIQUE REFERENCES channel (channel_id),
    seq INTEGER NOT NULL CHECK (seq BETWEEN 0 AND 4294967295),
    balance BLOB NOT NULL CHECK (length(balance) = 32),
    close_at BLOB NOT NULL CHECK (length(close_at) = 32),
    signature BLOB NOT NULL CHECK (length(signature) = 65),
    mac BLOB CHECK (length(mac) = 16)
) STRICT;

-- What the market maker said of a channel when it was last compared with `seq` and `balance`. It says nothing
-- of a channel that has moved on since.
CREATE TABLE comparison (
    id INTEGER PRIMARY KEY,
    channel_id BLOB NOT NULL UNIQUE REFERENCES channel (channel_id),
    seq INTEGER NOT NULL CHECK (seq BETWEEN 0 AND 4294967295),
    balance BLOB NOT NULL CHECK (length(balance) = 32),
    their_seq INTEGER NOT NULL CHECK (their_seq BETWEEN 0 AND 4294967295),
    their_balance BLOB NOT NULL CHECK (length(their_balance) = 32),
    mac BLOB CHECK (length(mac) = 16)
) STRICT;

-- The archive by age, and the few keys in it that still have to be offered.
CREATE INDEX data_key_age ON data_key (api_id, created_ns, key_id) WHERE sealed_key IS NOT NULL;
CREATE INDEX data_key_unoffered ON data_key (api_id, created_ns, key_id)
    WHERE sealed_key IS NOT NULL AND offered_ns IS NULL;
