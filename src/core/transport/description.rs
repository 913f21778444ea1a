//! The facts of a transport that routing, responses, metrics and documents are made of.
//!
//! Owns the fields. Each transport's own file has its values.

/// How a transport uses its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request is held until there is something to respond with.
    Answer,
    /// One response goes on until either side ends it.
    Stream,
    /// After the response to its request, both sides send frames, and the transport delimits them.
    Duplex,
}

/// The facts of a transport that others need to know.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Its name: the first segment of its path, and its label in metrics and listings.
    pub name: &'static str,
    /// How it uses its connection.
    pub kind: Kind,
    /// The media type of its responses, or of what its frames carry.
    pub content_type: &'static str,
    /// Whether clients reconnect by themselves, with the last id that they received, and give up on
    /// a status other than 200. Such a client is refused by an empty stream.
    pub resumes_by_itself: bool,
}
