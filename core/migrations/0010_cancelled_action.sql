-- Whether an action wrote what was given up: its reverse is all of it, or waits for the app's decision.
ALTER TABLE rejoin_cancel ADD COLUMN of_action INTEGER NOT NULL DEFAULT 0;
