//! The hub: events of a fleet for the clients of this instance.

mod access;
mod seam;
