-- Parts of a group that is larger than one request; at most one content for each device.
CREATE TABLE rejoin_staged(
  user_id TEXT NOT NULL, client_id TEXT NOT NULL, at_byte INTEGER NOT NULL, content TEXT NOT NULL, size INTEGER NOT NULL,
  bytes BLOB NOT NULL, at TEXT NOT NULL, PRIMARY KEY(user_id, client_id, at_byte)
);
