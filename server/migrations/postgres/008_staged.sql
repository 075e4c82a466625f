-- Parts of a group that is larger than one request; at most one content for each device.
CREATE TABLE rejoin.staged(
  user_id text COLLATE "C" NOT NULL, client_id text COLLATE "C" NOT NULL, at_byte bigint NOT NULL,
  content text COLLATE "C" NOT NULL, size bigint NOT NULL, bytes bytea NOT NULL, at text COLLATE "C" NOT NULL,
  PRIMARY KEY(user_id, client_id, at_byte)
);
