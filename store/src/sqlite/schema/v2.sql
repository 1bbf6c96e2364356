-- `mac` authenticates a row under the master key: see the module `seal`. Every row gets its own when a migration
-- is through.
ALTER TABLE channel ADD COLUMN is_closed INTEGER NOT NULL DEFAULT 0 CHECK (is_closed IN (0, 1));
UPDATE channel SET is_closed = 1
WHERE channel_id IN (SELECT channel_id FROM channel_close WHERE is_final = 1);

ALTER TABLE channel ADD COLUMN mac BLOB CHECK (length(mac) = 16);
ALTER TABLE sale ADD COLUMN mac BLOB CHECK (length(mac) = 16);
ALTER TABLE channel_close ADD COLUMN mac BLOB CHECK (length(mac) = 16);
ALTER TABLE data_key ADD COLUMN mac BLOB CHECK (length(mac) = 16);
ALTER TABLE evidence ADD COLUMN mac BLOB CHECK (length(mac) = 16);
