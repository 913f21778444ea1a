//! The reasons for which a request is refused as malformed.
//!
//! Owns one variant per cause, with its status and the sentence for the client. For every variant
//! the caller sends the error response and closes the connection, because the start of the next
//! request is in doubt.

use std::fmt;

use super::status;

/// The reason for which a request is refused as malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A line feed without a carriage return before it (RFC 9112, 2.2).
    BareLf,
    /// A carriage return without a line feed after it (RFC 9112, 2.2).
    BareCr,
    /// The request line is not a method, a target and a version (RFC 9112, 3).
    RequestLine,
    /// A request line that ends after the target, as in HTTP/0.9.
    VersionMissing,
    /// An HTTP version other than 1.0 and 1.1.
    Version,
    /// A method that no specification known here defines.
    Method,
    /// The target has none of the four forms, or not one the method allows (RFC 9112, 3.2).
    Target,
    /// The target has a fragment.
    Fragment,
    /// The request line does not end within the limit of the head.
    TargetTooLong,
    /// The head does not end within its limit.
    HeadTooLong,
    /// More fields than the head may have.
    TooManyFields,
    /// A field line that does not start with a name and a colon (RFC 9112, 5).
    FieldName,
    /// White space between the name of a field and its colon (RFC 9112, 5.1).
    SpaceBeforeColon,
    /// A field line that continues the one before (RFC 9112, 5.2).
    ObsoleteFold,
    /// A control character in the value of a field (RFC 9110, 5.5).
    FieldValue,
    /// HTTP/1.1 without Host (RFC 9112, 3.2).
    HostMissing,
    /// More than one Host.
    HostRepeated,
    /// A Host that is not `host` or `host:port`.
    HostInvalid,
    /// A Content-Length that is not a decimal number below 2^64, or a list.
    ContentLengthInvalid,
    /// More than one Content-Length.
    ContentLengthRepeated,
    /// Both Transfer-Encoding and Content-Length (RFC 9112, 6.1).
    LengthAndCoding,
    /// Transfer-Encoding in a request of HTTP/1.0 (RFC 9112, 6.1).
    CodingOnHttp10,
    /// More than one Transfer-Encoding, or `chunked` more than once.
    CodingRepeated,
    /// A Transfer-Encoding that is no list of codings, or goes on after `chunked`.
    CodingInvalid,
    /// A transfer coding other than `chunked`.
    CodingUnknown,
    /// An expectation other than `100-continue` (RFC 9110, 10.1.1).
    Expectation,
    /// More than one Authorization.
    AuthorizationRepeated,
    /// More than one Content-Type.
    ContentTypeRepeated,
    /// More than one Encke-Event.
    EnckeEventRepeated,
    /// More than one Idempotency-Key.
    IdempotencyKeyRepeated,
    /// More than one Last-Event-ID.
    LastEventIdRepeated,
    /// More than one Origin.
    OriginRepeated,
    /// More than one Access-Control-Request-Method.
    PreflightRepeated,
    /// The body is larger than its limit.
    BodyTooLarge,
    /// A chunk that does not start with its size in hexadecimal digits (RFC 9112, 7.1).
    ChunkSize,
    /// The line with the size of a chunk is too long.
    ChunkLineTooLong,
    /// The chunk extensions of one body are too long in all (RFC 9112, 7.1.1).
    ChunkExtensionsTooLong,
    /// A control character in a chunk extension.
    ChunkExtensionByte,
    /// A chunk that does not end where its size says.
    ChunkEnd,
    /// A trailer line that does not start with a name and a colon (RFC 9112, 7.1.2).
    TrailerName,
    /// A control character in a trailer field.
    TrailerByte,
    /// The trailer fields are too long.
    TrailersTooLong,
}

impl Error {
    /// All errors, in the order of their numbers.
    pub const ALL: [Error; 42] = [
        Error::BareLf,
        Error::BareCr,
        Error::RequestLine,
        Error::VersionMissing,
        Error::Version,
        Error::Method,
        Error::Target,
        Error::Fragment,
        Error::TargetTooLong,
        Error::HeadTooLong,
        Error::TooManyFields,
        Error::FieldName,
        Error::SpaceBeforeColon,
        Error::ObsoleteFold,
        Error::FieldValue,
        Error::HostMissing,
        Error::HostRepeated,
        Error::HostInvalid,
        Error::ContentLengthInvalid,
        Error::ContentLengthRepeated,
        Error::LengthAndCoding,
        Error::CodingOnHttp10,
        Error::CodingRepeated,
        Error::CodingInvalid,
        Error::CodingUnknown,
        Error::Expectation,
        Error::AuthorizationRepeated,
        Error::ContentTypeRepeated,
        Error::EnckeEventRepeated,
        Error::IdempotencyKeyRepeated,
        Error::LastEventIdRepeated,
        Error::OriginRepeated,
        Error::PreflightRepeated,
        Error::BodyTooLarge,
        Error::ChunkSize,
        Error::ChunkLineTooLong,
        Error::ChunkExtensionsTooLong,
        Error::ChunkExtensionByte,
        Error::ChunkEnd,
        Error::TrailerName,
        Error::TrailerByte,
        Error::TrailersTooLong,
    ];

    /// The status code of the response.
    pub fn status(self) -> u16 {
        match self {
            Error::BodyTooLarge => status::CONTENT_TOO_LARGE,
            Error::TargetTooLong => status::URI_TOO_LONG,
            Error::Expectation => status::EXPECTATION_FAILED,
            Error::HeadTooLong | Error::TooManyFields | Error::TrailersTooLong => {
                status::FIELDS_TOO_LARGE
            }
            Error::Method | Error::CodingUnknown => status::NOT_IMPLEMENTED,
            Error::Version => status::VERSION_NOT_SUPPORTED,
            _ => status::BAD_REQUEST,
        }
    }

    /// The fault, and its remedy.
    pub fn detail(self) -> &'static str {
        match self {
            Error::BareLf => "end every line with CR LF: there is a line feed without its CR",
            Error::BareCr => "end every line with CR LF: there is a CR without its line feed",
            Error::RequestLine => {
                "write the request line as `METHOD target HTTP/1.1`, with single spaces, and \
                 percent-encode spaces in the target"
            }
            Error::VersionMissing => {
                "end the request line with ` HTTP/1.1`: HTTP/0.9 is not supported"
            }
            Error::Version => "use HTTP/1.1 or HTTP/1.0: no other version is supported",
            Error::Method => "use GET, HEAD, POST, PUT, DELETE or OPTIONS: the method is unknown",
            Error::Target => {
                "start the target with `/` or `http://host/`; `*` is for OPTIONS, `host:port` for \
                 CONNECT; percent-encode anything that is not allowed in a URL"
            }
            Error::Fragment => "send the target without its fragment: percent-encode `#` as %23",
            Error::TargetTooLong => "shorten the target: the request line exceeds --max-head-bytes",
            Error::HeadTooLong => {
                "send fewer or shorter fields: the request head exceeds --max-head-bytes"
            }
            Error::TooManyFields => "send fewer fields: a request head may have at most 100",
            Error::FieldName => {
                "write each field as `name: value`, the name made of token characters"
            }
            Error::SpaceBeforeColon => "remove the white space between a field name and its colon",
            Error::ObsoleteFold => "write each field on one line: folded lines are not accepted",
            Error::FieldValue => "remove the control characters from the field value",
            Error::HostMissing => "send a Host field: HTTP/1.1 requires it",
            Error::HostRepeated => "send Host only once",
            Error::HostInvalid => "write Host as `host` or `host:port`",
            Error::ContentLengthInvalid => "write Content-Length as one decimal number",
            Error::ContentLengthRepeated => "send Content-Length only once",
            Error::LengthAndCoding => "send either Content-Length or Transfer-Encoding, not both",
            Error::CodingOnHttp10 => "use HTTP/1.1 for Transfer-Encoding, or send Content-Length",
            Error::CodingRepeated => "send Transfer-Encoding once, with `chunked` once",
            Error::CodingInvalid => "write Transfer-Encoding as `chunked`, and nothing after it",
            Error::CodingUnknown => "use `chunked` alone: no other transfer coding is implemented",
            Error::Expectation => "send no Expect other than `100-continue`",
            Error::AuthorizationRepeated => "send Authorization only once",
            Error::ContentTypeRepeated => "send Content-Type only once",
            Error::EnckeEventRepeated => "send Encke-Event only once",
            Error::IdempotencyKeyRepeated => "send Idempotency-Key only once",
            Error::LastEventIdRepeated => "send Last-Event-ID only once",
            Error::OriginRepeated => "send Origin only once",
            Error::PreflightRepeated => "send Access-Control-Request-Method only once",
            Error::BodyTooLarge => "send a smaller body: it exceeds --max-body-bytes",
            Error::ChunkSize => {
                "start each chunk with its size in hexadecimal digits, without white space"
            }
            Error::ChunkLineTooLong => "shorten the chunk's size line to 256 bytes or fewer",
            Error::ChunkExtensionsTooLong => "send fewer or shorter chunk extensions",
            Error::ChunkExtensionByte => "remove the control characters from the chunk extension",
            Error::ChunkEnd => {
                "end each chunk with CR LF after exactly as many bytes as its size says"
            }
            Error::TrailerName => {
                "write each trailer field as `name: value`, the name made of token characters"
            }
            Error::TrailerByte => "remove the control characters from the trailer fields",
            Error::TrailersTooLong => "shorten the trailer fields to 8 KiB or fewer",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_numbered_in_order() {
        for (place, error) in Error::ALL.into_iter().enumerate() {
            assert_eq!(error as usize, place, "{error}");
        }
    }

    #[test]
    fn each_error_has_its_status() {
        for (error, status) in [
            (Error::BareLf, 400),
            (Error::LengthAndCoding, 400),
            (Error::HostMissing, 400),
            (Error::BodyTooLarge, 413),
            (Error::TargetTooLong, 414),
            (Error::Expectation, 417),
            (Error::HeadTooLong, 431),
            (Error::TooManyFields, 431),
            (Error::Method, 501),
            (Error::CodingUnknown, 501),
            (Error::CodingInvalid, 400),
            (Error::Version, 505),
            (Error::VersionMissing, 400),
        ] {
            assert_eq!(error.status(), status, "{error}");
        }
    }
}
