-- What every script begins with. `P`, the prefix of all keys, `clock`, the store's clock in ms, and
-- `steps_kept`, how many ms the steps of a failed call outlast it, are defined above.
--
-- A record is a string: a byte of tag (state + 8 settled + 16 explicit + 32 has steps), six of fence,
-- the payload's hash (4 bytes, 32 if explicit), and
--   running: attempt (4), crashes (1), owner (6; 0 when handed back), ticket (6)
--   retry:   attempt (4), crashes (1), due (6), the verdict until it is settled
--   over:    the verdict, if there is one
local RUNNING, RETRY, DONE, FAILED, PARKED = 0, 1, 2, 3, 4
local records = P .. 'lovage:l:'
local steps = P .. 'lovage:ledger:steps:'
local fences = P .. 'lovage:ledger:fence'
local sessions = P .. 'lovage:ledger:sessions'
local last_session = P .. 'lovage:ledger:session'
