//! The record of what was issued: nothing leaves before it is durable.
