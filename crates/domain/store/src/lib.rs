//! Storage ports: change log and journal, the memory backend, their conformance suites.
