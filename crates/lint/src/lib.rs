//! Mistakes in policies that the API server accepts, each with a witness.
