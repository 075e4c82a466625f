-- Where the planner may not read a table from end to end it calls that dear, and compiles what it does all the same: that takes
-- longer than all that the sequencer does, while everybody waits for it.
ALTER FUNCTION rejoin.sequence() SET jit = off;
