//! Delivery: what parked connections are sent, and when; and publishers that wait for the log, which are
//! parked too.
//!
//! Owns long polls and streams from the moment they are opened, their deadlines, the responses that
//! many of them share, and the drain. It never parses a request, except for the origin of one that
//! it refuses.
//!
//! Calls run one way: `deliver`, `deadlines` → `publishing` → `settle` → `poll`, `stream` →
//! `state`, `poll` → `batch`, and `deadlines` → `duplex` → `stream`.

mod acknowledgements;
mod ahead;
mod batch;
mod deadlines;
mod deliver;
mod drain;
mod duplex;
mod ends;
mod expired;
mod frozen;
mod line_step;
mod lines;
mod linger;
mod opening;
mod poll;
mod published;
mod publishing;
mod retry_advice;
mod review;
mod right;
mod settle;
mod shapes;
mod start;
mod state;
mod stream;
mod waiting;

pub(super) use acknowledgements::framing as framing_of_acknowledgements;
pub(super) use ahead::{judge, place_passed, tell_unfounded};
pub(super) use deadlines::serve_deadlines;
pub(super) use deliver::deliver;
pub(super) use duplex::{Followed, close as close_socket, echo_close, follow, tell_ends};
pub(super) use frozen::{freeze, thaw};
pub(super) use line_step::take_results as take_line_results;
pub(super) use lines::{may_go_on, refuse as refuse_lines};
pub(super) use poll::give_up_hold;
pub(super) use published::{Form, Unnumbered, write_published};
pub(super) use publishing::{
    acknowledge, end_command, finish, saved, wait as wait_for_log, wait_behind, wait_for_ids,
    wait_for_lines, write_error,
};
pub(super) use retry_advice::REFUSED_RETRY_MS;
pub(super) use settle::{refuse, settle};
pub(super) use start::{ReceiveRequest, start};
pub(super) use state::Delivery;
pub(super) use waiting::Answer;
pub(super) use {opening::open as open_stream, opening::turn_away, poll::open as open_poll};
