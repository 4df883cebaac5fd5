//! Verification profiles: X.509-SVIDs and JWT-SVIDs checked over a trust view.
