//! The file, the mathematics against brute force, and a model in parts against the whole.

mod brute_force;
mod file;
mod mathematics;
mod properties;
mod stream;
