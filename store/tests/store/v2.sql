-- A store of schema version 2, as the program that shipped it wrote it. Never to be changed.
PRAGMA application_id = 1480741459;
PRAGMA user_version = 2;
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
, is_closed INTEGER NOT NULL DEFAULT 0 CHECK (is_closed IN (0, 1)), mac BLOB CHECK (length(mac) = 16)) STRICT;
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
    signature BLOB NOT NULL CHECK (length(signature) = 65), mac BLOB CHECK (length(mac) = 16),
    UNIQUE (channel_id, seq)
) STRICT;
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
    signature BLOB NOT NULL CHECK (length(signature) = 65), mac BLOB CHECK (length(mac) = 16),
    UNIQUE (channel_id, seq, is_final)
) STRICT;
CREATE UNIQUE INDEX channel_close_final ON channel_close (channel_id) WHERE is_final = 1;
CREATE TABLE data_key (
    id INTEGER PRIMARY KEY,
    key_id BLOB NOT NULL UNIQUE CHECK (length(key_id) = 16),
    api_id BLOB NOT NULL CHECK (length(api_id) = 16),
    sealed_key BLOB CHECK (length(sealed_key) = 88),
    price BLOB NOT NULL CHECK (length(price) = 32),
    created_ns INTEGER NOT NULL CHECK (created_ns >= 0),
    expires_ns INTEGER CHECK (expires_ns >= 0),
    offered_ns INTEGER CHECK (offered_ns >= 0)
, mac BLOB CHECK (length(mac) = 16)) STRICT;
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
, mac BLOB CHECK (length(mac) = 16)) STRICT;
CREATE TABLE own_close (
    id INTEGER PRIMARY KEY,
    channel_id BLOB NOT NULL UNIQUE REFERENCES channel (channel_id),
    seq INTEGER NOT NULL CHECK (seq BETWEEN 0 AND 4294967295),
    balance BLOB NOT NULL CHECK (length(balance) = 32),
    close_at BLOB NOT NULL CHECK (length(close_at) = 32),
    signature BLOB NOT NULL CHECK (length(signature) = 65),
    mac BLOB CHECK (length(mac) = 16)
) STRICT;
CREATE TABLE comparison (
    id INTEGER PRIMARY KEY,
    channel_id BLOB NOT NULL UNIQUE REFERENCES channel (channel_id),
    seq INTEGER NOT NULL CHECK (seq BETWEEN 0 AND 4294967295),
    balance BLOB NOT NULL CHECK (length(balance) = 32),
    their_seq INTEGER NOT NULL CHECK (their_seq BETWEEN 0 AND 4294967295),
    their_balance BLOB NOT NULL CHECK (length(their_balance) = 32),
    mac BLOB CHECK (length(mac) = 16)
) STRICT;
CREATE INDEX data_key_age ON data_key (api_id, created_ns, key_id) WHERE sealed_key IS NOT NULL;
CREATE INDEX data_key_unoffered ON data_key (api_id, created_ns, key_id)
    WHERE sealed_key IS NOT NULL AND offered_ns IS NULL;
INSERT INTO store (id, verifier, verifier_hash, settled) VALUES
    (1,
     X'370f645e111cf71c220337419c34b875c3cfcf4a280d1c642b1b283b0cf7b7c5a72063d3b28e8643a83f39e2829c1ccbaf521cc70cc7886dd81d3fac55134f9d60f06e7b00a8a45327264251',
     X'0dc21ddacf35b19e8ddb57ec04dd0ec9aa801fccb95db5d12028294ff89642ea', 0);
INSERT INTO channel (id, channel_id, market_id, market_maker, delegate, amount, chain_id, verifying_contract, close_at, adopted_seq, adopted_balance, seq, balance, earned, surplus, sales, is_closed, mac) VALUES
    (1, X'01010101010101010101010101010101', X'a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1',
     X'a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2', X'a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3',
     X'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
     X'0000000000000000000000000000000000000000000000000000000000001691', X'a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4',
     X'0000000000000000000000000000000000000000000000000000000000000001', 1,
     X'00000000000000000000000000000000000000000000000000000000000f4240', 4,
     X'00000000000000000000000000000000000000000000000000000000000f4222',
     X'000000000000000000000000000000000000000000000000000000000000000f',
     X'000000000000000000000000000000000000000000000000000000000000000f', 3, 1, X'60b0350f6703c74265d2917bb9789dc1');
INSERT INTO channel (id, channel_id, market_id, market_maker, delegate, amount, chain_id, verifying_contract, close_at, adopted_seq, adopted_balance, seq, balance, earned, surplus, sales, is_closed, mac) VALUES
    (2, X'02020202020202020202020202020202', X'a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1',
     X'a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2', X'a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3',
     X'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
     X'0000000000000000000000000000000000000000000000000000000000001691', X'a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4',
     X'0000000000000000000000000000000000000000000000000000000000000001', 1,
     X'00000000000000000000000000000000000000000000000000000000000f4240', 4294967295,
     X'0000000000000000000000000000000000000000000000000000000000000000',
     X'0000000000000000000000000000000000000000000000000000000000079f2c',
     X'000000000000000000000000000000000000000000000000000000000007a314', 1, 0, X'a7c8284baab282c154da6c7e209412af');
INSERT INTO channel (id, channel_id, market_id, market_maker, delegate, amount, chain_id, verifying_contract, close_at, adopted_seq, adopted_balance, seq, balance, earned, surplus, sales, is_closed, mac) VALUES
    (3, X'03030303030303030303030303030303', X'a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1',
     X'a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2', X'a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3',
     X'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
     X'0000000000000000000000000000000000000000000000000000000000001691', X'a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4',
     X'0000000000000000000000000000000000000000000000000000000000000001', 1,
     X'00000000000000000000000000000000000000000000000000000000000f4240', 1,
     X'00000000000000000000000000000000000000000000000000000000000f4240',
     X'0000000000000000000000000000000000000000000000000000000000000000',
     X'0000000000000000000000000000000000000000000000000000000000000000', 0, 0, X'c43547a1caa02e7a4585087bec92ca66');
INSERT INTO sale (id, channel_id, seq, balance, before_seq, before_balance, key_id, buyer_key, amount, surplus, sealed_key, market_maker_signature, signature, mac) VALUES
    (1, X'01010101010101010101010101010101', 2, X'00000000000000000000000000000000000000000000000000000000000f4236',
     1, X'00000000000000000000000000000000000000000000000000000000000f4240', X'02020202020202020202020202020202',
     X'b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0',
     X'0000000000000000000000000000000000000000000000000000000000000005',
     X'0000000000000000000000000000000000000000000000000000000000000005',
     X'0202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202',
     X'c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1',
     X'c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2',
     X'11ada3df9e20a04f78fb0601c68679db');
INSERT INTO sale (id, channel_id, seq, balance, before_seq, before_balance, key_id, buyer_key, amount, surplus, sealed_key, market_maker_signature, signature, mac) VALUES
    (2, X'01010101010101010101010101010101', 3, X'00000000000000000000000000000000000000000000000000000000000f422c',
     2, X'00000000000000000000000000000000000000000000000000000000000f4236', X'03030303030303030303030303030303',
     X'b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0',
     X'0000000000000000000000000000000000000000000000000000000000000005',
     X'0000000000000000000000000000000000000000000000000000000000000005',
     X'0303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303',
     X'c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1',
     X'c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2',
     X'870a579edfc830a3a6ff08061c5c2413');
INSERT INTO sale (id, channel_id, seq, balance, before_seq, before_balance, key_id, buyer_key, amount, surplus, sealed_key, market_maker_signature, signature, mac) VALUES
    (3, X'01010101010101010101010101010101', 4, X'00000000000000000000000000000000000000000000000000000000000f4222',
     3, X'00000000000000000000000000000000000000000000000000000000000f422c', X'04040404040404040404040404040404',
     X'b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0',
     X'0000000000000000000000000000000000000000000000000000000000000005',
     X'0000000000000000000000000000000000000000000000000000000000000005',
     X'0404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404040404',
     X'c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1',
     X'c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2',
     X'8f5fe714a4bada20e425095148b9d536');
INSERT INTO sale (id, channel_id, seq, balance, before_seq, before_balance, key_id, buyer_key, amount, surplus, sealed_key, market_maker_signature, signature, mac) VALUES
    (4, X'02020202020202020202020202020202', 4294967295,
     X'0000000000000000000000000000000000000000000000000000000000000000', 4,
     X'00000000000000000000000000000000000000000000000000000000000f3e58', X'ffffffffffffffffffffffffffffffff',
     X'b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0',
     X'0000000000000000000000000000000000000000000000000000000000079f2c',
     X'0000000000000000000000000000000000000000000000000000000000079f2c',
     X'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
     X'c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1',
     X'c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2',
     X'2220face7bc2f1e98a5be00256421ab0');
INSERT INTO channel_close (id, channel_id, seq, balance, before_seq, before_balance, surplus, is_final, market_maker_signature, signature, mac) VALUES
    (1, X'01010101010101010101010101010101', 4, X'00000000000000000000000000000000000000000000000000000000000f4222',
     4, X'00000000000000000000000000000000000000000000000000000000000f4222',
     X'0000000000000000000000000000000000000000000000000000000000000000', 1,
     X'd1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1',
     X'd2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2',
     X'855b834370b39a225b63ae7841353bbc');
INSERT INTO channel_close (id, channel_id, seq, balance, before_seq, before_balance, surplus, is_final, market_maker_signature, signature, mac) VALUES
    (2, X'02020202020202020202020202020202', 4, X'00000000000000000000000000000000000000000000000000000000000f3e58',
     1, X'00000000000000000000000000000000000000000000000000000000000f4240',
     X'00000000000000000000000000000000000000000000000000000000000003e8', 0,
     X'd1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1',
     X'd2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2',
     X'99f5cf13eda79914b8cc8c62b849ff83');
INSERT INTO data_key (id, key_id, api_id, sealed_key, price, created_ns, expires_ns, offered_ns, mac) VALUES
    (1, X'01010101010101010101010101010101', X'e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0',
     X'552301993815a2696d6cb220c8679c4eb1a3ca9a69ad3818b3d41c9d978526145aad32f118531f598f32e219cac09a7b325a7d38c08147ecf9c65c49438ccdd03ff1e872feef104b8ab3dfc6c51ceb81caf8fc9196eb4e3f',
     X'000000000000000000000000000000000000000000000001e5b8fa8fe2ac0000', 1700000000000000000, 1700000300000000000,
     NULL, X'356e08c43a0b197806562560c16dfde1');
INSERT INTO data_key (id, key_id, api_id, sealed_key, price, created_ns, expires_ns, offered_ns, mac) VALUES
    (2, X'02020202020202020202020202020202', X'e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0',
     X'a0000ff0bbb29f2172e3022b7478e9945c1b3b15b7075fe9b605c413aa996d7504bba441dd3c78fce0872e8d33a0721431f9427663c48028885e1f5f5e76a2e4c0acffead299e6e9b3133cadb2021dec57f24114c056e97e',
     X'000000000000000000000000000000000000000000000001e5b8fa8fe2ac0000', 1700000000000000000, NULL,
     1700000000000000001, X'f585d0dd1ff465ecd5cb2d81dfd6277e');
INSERT INTO data_key (id, key_id, api_id, sealed_key, price, created_ns, expires_ns, offered_ns, mac) VALUES
    (3, X'03030303030303030303030303030303', X'e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0', NULL,
     X'000000000000000000000000000000000000000000000001e5b8fa8fe2ac0000', 1700000000000000000, 1700000300000000000,
     NULL, X'd6df16cc9cfb75fef140a34c6026dc31');
INSERT INTO data_key (id, key_id, api_id, sealed_key, price, created_ns, expires_ns, offered_ns, mac) VALUES
    (4, X'04040404040404040404040404040404', X'e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0',
     X'c41dcde2f2733e6f27bedf8efbf78529d81e0f31c3db8fd0d3445e5c1cba921afe65cc42c768175623b09be9f7d7864d5c3cc6790d9f01042d61d00722933beac824d4d275cde8420f3ea224438aab5f431c0fbb1096392a',
     X'000000000000000000000000000000000000000000000001e5b8fa8fe2ac0000', 1700000000000000000, NULL, NULL,
     X'854be34476ad08d1f4a022ff329733b7');
INSERT INTO evidence (id, received_ns, reject, kind, market_maker, channel_id, seq, balance, signature, buyer_key, key_id, amount, is_final, mac) VALUES
    (1, 1700000000000000001, CAST(X'756e65787065637465642062616c616e636500206f66203120c3bc' AS TEXT), 'sell', X'0101010101010101010101010101010101010101',
     X'01010101010101010101010101010101', 4294967295,
     X'0000000000000000000000000000000000000000000000000000000000000000',
     X'0303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303',
     X'0202020202020202020202020202020202020202020202020202020202020202', X'01010101010101010101010101010101',
     X'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', NULL, X'db5c8e6606545230802a82c8f329d98a');
INSERT INTO evidence (id, received_ns, reject, kind, market_maker, channel_id, seq, balance, signature, buyer_key, key_id, amount, is_final, mac) VALUES
    (2, 0, '', 'close', X'0404040404040404040404040404040404040404', X'02020202020202020202020202020202', 0,
     X'0000000000000000000000000000000000000000000000006124fee993bc0000',
     X'0505050505050505050505050505050505050505050505050505050505050505050505050505050505050505050505050505050505050505050505050505050505',
     NULL, NULL, NULL, 1, X'b072e567d3f62e5e1d407f932735f2a6');
INSERT INTO evidence (id, received_ns, reject, kind, market_maker, channel_id, seq, balance, signature, buyer_key, key_id, amount, is_final, mac) VALUES
    (3, 0, '', 'close', X'0404040404040404040404040404040404040404', X'03030303030303030303030303030303', 0,
     X'0000000000000000000000000000000000000000000000006124fee993bc0000',
     X'0505050505050505050505050505050505050505050505050505050505050505050505050505050505050505050505050505050505050505050505050505050505',
     NULL, NULL, NULL, 0, X'7ca349d1f2b35daec88f269075af9380');
