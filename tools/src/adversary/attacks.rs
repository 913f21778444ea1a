//! The attacks, a file for each family.

mod deaf;
mod floods;
mod leaving;
mod names;
mod pipelines;
mod slow;
mod uploads;

use super::Attack;

/// All attacks.
pub const ALL: [&Attack; 21] = [
    &slow::HEADS,
    &slow::BODIES,
    &slow::SILENT,
    &deaf::STREAMS,
    &deaf::POLLS,
    &deaf::SIPPING_STREAMS,
    &deaf::SIPPING_POLLS,
    &leaving::RESETS,
    &leaving::HALF_CLOSES,
    &floods::CONNECTIONS,
    &floods::DESCRIPTORS,
    &floods::HEADERS,
    &floods::HEADS,
    &pipelines::POLLS,
    &pipelines::HOLDS,
    &uploads::SLOW,
    &uploads::TRICKLE,
    &names::SUBSCRIBED,
    &names::PUBLISHED,
    &names::ORDINARY,
    &names::COLLIDING,
];
