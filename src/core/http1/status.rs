//! The status codes of encke's responses, in one table.
//!
//! Owns their names, status lines (RFC 9112, 4) and the order in which they are counted. A
//! response can only have a status of this table.

/// Declares each status as a constant and derives the table, the lines and the indices from it.
macro_rules! statuses {
    ($($name:ident = $code:literal $reason:literal;)*) => {
        $(#[doc = concat!("`", $code, " ", $reason, "`")] pub const $name: u16 = $code;)*

        /// All status codes, ascending.
        pub const ALL: &[u16] = &[$($code),*];

        /// The status line, with its CR LF.
        ///
        /// # Panics
        ///
        /// If the status is not in the table.
        pub fn line(status: u16) -> &'static str {
            match status {
                $($code => concat!("HTTP/1.1 ", $code, " ", $reason, "\r\n"),)*
                _ => unreachable!("{status} is not in the table of statuses"),
            }
        }
    };
}

statuses! {
    CONTINUE = 100 "Continue";
    SWITCHING_PROTOCOLS = 101 "Switching Protocols";
    OK = 200 "OK";
    NO_CONTENT = 204 "No Content";
    NOT_MODIFIED = 304 "Not Modified";
    BAD_REQUEST = 400 "Bad Request";
    UNAUTHORIZED = 401 "Unauthorized";
    FORBIDDEN = 403 "Forbidden";
    NOT_FOUND = 404 "Not Found";
    METHOD_NOT_ALLOWED = 405 "Method Not Allowed";
    REQUEST_TIMEOUT = 408 "Request Timeout";
    CONTENT_TOO_LARGE = 413 "Content Too Large";
    URI_TOO_LONG = 414 "URI Too Long";
    UNSUPPORTED_MEDIA_TYPE = 415 "Unsupported Media Type";
    EXPECTATION_FAILED = 417 "Expectation Failed";
    UPGRADE_REQUIRED = 426 "Upgrade Required";
    TOO_MANY_REQUESTS = 429 "Too Many Requests";
    FIELDS_TOO_LARGE = 431 "Request Header Fields Too Large";
    NOT_IMPLEMENTED = 501 "Not Implemented";
    UNAVAILABLE = 503 "Service Unavailable";
    VERSION_NOT_SUPPORTED = 505 "HTTP Version Not Supported";
}

const ABSENT: u8 = u8::MAX;

/// Indices in [`ALL`], by status. A table, because every request looks one up.
const INDICES: [u8; 600] = {
    let mut indices = [ABSENT; 600];
    let mut at = 0;
    while at < ALL.len() {
        indices[ALL[at] as usize] = at as u8;
        at += 1;
    }
    indices
};

/// The reason phrase of a status, as in its status line.
pub fn reason(status: u16) -> &'static str {
    let line = line(status);
    &line["HTTP/1.1 200 ".len()..line.len() - "\r\n".len()]
}

/// The index of a status in [`ALL`].
pub fn index(status: u16) -> Option<usize> {
    let index = *INDICES.get(usize::from(status))?;
    (index != ABSENT).then_some(usize::from(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_reasons() {
        assert_eq!(line(CONTINUE), "HTTP/1.1 100 Continue\r\n");
        assert_eq!(line(NOT_FOUND), "HTTP/1.1 404 Not Found\r\n");
        assert_eq!(reason(VERSION_NOT_SUPPORTED), "HTTP Version Not Supported");
        assert!(ALL.is_sorted());
        for (at, &status) in ALL.iter().enumerate() {
            assert_eq!(index(status), Some(at));
        }
        assert_eq!(index(299), None);
    }
}
