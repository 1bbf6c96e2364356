-- When a sale was decided, Unix ns, and the API of its key. 0 and null for what was sold before this was kept and
-- cannot be told from the archive.
ALTER TABLE sale ADD COLUMN sold_ns INTEGER NOT NULL DEFAULT 0 CHECK (sold_ns >= 0);
ALTER TABLE sale ADD COLUMN api_id BLOB CHECK (length(api_id) = 16);
UPDATE sale SET api_id = (SELECT api_id FROM data_key WHERE data_key.key_id = sale.key_id);

-- Lists of sales, in the order of time and of their commits.
CREATE INDEX sale_time ON sale (sold_ns);
CREATE INDEX sale_channel ON sale (channel_id, sold_ns);
CREATE INDEX sale_api ON sale (api_id, sold_ns);
CREATE INDEX sale_key ON sale (key_id, sold_ns);

-- Lists of keys, retired ones among them.
CREATE INDEX data_key_time ON data_key (created_ns, key_id);
CREATE INDEX data_key_retired ON data_key (created_ns, key_id) WHERE sealed_key IS NULL;

-- Whether the state of a channel comes from a backup and nothing has shown yet that it is the last one.
ALTER TABLE channel ADD COLUMN is_restored INTEGER NOT NULL DEFAULT 0 CHECK (is_restored IN (0, 1));
