//! The cache of responses, around real services.

mod conditions;
mod declared;
mod declared_random;
mod extensions;
mod faults;
mod flight;
mod operators;
mod personal;
mod poisoned;
mod rfc9111;
mod rfc9111_directives;
mod rfc9111_validation;
mod site;
mod table;
mod unshared;
mod waiting;
