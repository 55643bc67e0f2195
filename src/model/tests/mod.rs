//! Tests of the conversions and checks as wholes.

mod damage;
mod folder;
mod golden;
pub(super) mod synthetic;
