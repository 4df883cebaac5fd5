//! Admit, sign, release: the only way to issue.
