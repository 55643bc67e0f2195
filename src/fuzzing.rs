//! The ways in for the programs in `fuzz/`: what reads a stranger's bytes, without sockets and
//! threads around it. Compiled for them alone (`cfg(fuzzing)`), and no part of the interface.

pub use crate::http::fuzzing::{
    Exchange, Form, FormEnd, FormPart, Framing, HeaderValue, converse, header_value, read_form,
};
pub use crate::notifier::address::fuzzing::{Callback, callback, may_connect};
pub use crate::queue::local::fuzzing::{Cell, Damage, Record, Shelf, Stage};
