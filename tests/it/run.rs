//! `sidepulse run`: beside a child in one container.

mod ending;
mod orphans;
mod signals;
mod start;
mod stopping;
mod terminal;
mod unresponsive;
