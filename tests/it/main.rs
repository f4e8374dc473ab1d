//! sidepulse as a user meets it: the real binary, real children, bytes on a socket.

mod run;
mod support;
