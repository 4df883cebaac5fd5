//! The bounds on a request's head that are told in the words of the service.
//!
//! The HTTP/1.1 library answers a head that it does not read with 431 and no body, and nothing can be hung onto that.
//! So it reads somewhat more than is taken ([`READ_FACTOR`]), and a service says [`check_head`] first: up to there the
//! caller gets a document that says what is wrong.

use crate::NetError;
use http::Request;

/// Path, query and header fields of a request together, in bytes.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// Header fields of a request.
const FIELDS_MAX: usize = 64;

/// How many times as much of either the HTTP/1.1 library reads.
pub(crate) const READ_FACTOR: usize = 4;

/// Header fields that the HTTP/1.1 library reads.
pub(crate) const FIELDS_READ_MAX: usize = FIELDS_MAX * READ_FACTOR;

/// Whether the head of `request` is one that is taken.
///
/// # Errors
/// [`NetError::Head`]: to be told as 431 (RFC 6585 §5), whoever asks and whatever for.
pub fn check_head<B>(request: &Request<B>) -> Result<(), NetError> {
    let headers = request.headers();
    let target = request
        .uri()
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    // As in the message: a colon, a space and the end of the line.
    let fields = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4);
    let bytes = fields.fold(target, usize::saturating_add);
    if bytes > HEAD_BYTES_MAX || headers.len() > FIELDS_MAX {
        return Err(NetError::Head {
            bytes,
            bytes_max: HEAD_BYTES_MAX,
            fields: headers.len(),
            fields_max: FIELDS_MAX,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use signet_fault::Coded as _;

    #[test]
    fn what_is_at_the_bound_is_taken_and_one_more_is_not() {
        let with = |path: usize, value: usize| {
            Request::get(format!("/{}", "p".repeat(path - 1)))
                .header("x", "v".repeat(value))
                .body(())
                .unwrap()
        };
        let rest = HEAD_BYTES_MAX - "x: \r\n".len();
        for path in [1, 4_000, rest - 1] {
            assert!(check_head(&with(path, rest - path)).is_ok());
            let error = check_head(&with(path, rest - path + 1)).unwrap_err();
            assert_eq!(error.code(), "SGNE020");
        }
        let many = |count| {
            let empty = Request::get("/");
            (0..count)
                .fold(empty, |request, _| request.header("x", ""))
                .body(())
                .unwrap()
        };
        assert!(check_head(&many(FIELDS_MAX)).is_ok());
        assert!(check_head(&many(FIELDS_MAX + 1)).is_err());
    }
}
