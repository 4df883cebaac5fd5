//! What a server pushes to an agent: snapshots, cursors, capabilities; producer and replica without I/O.
