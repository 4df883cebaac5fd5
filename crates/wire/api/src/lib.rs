//! Administration request and reply types, shared by server and command line.
