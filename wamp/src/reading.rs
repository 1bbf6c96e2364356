//! From the bytes of a frame to a message, within bounds, on either side of a connection.

use xbr_core::Value;
use xbr_core::cbor::Limits;

use crate::codec::Serializer;
use crate::error::Malformed;
use crate::message::Message;

/// How many elements of a message that is too large are read: they hold all ids.
const HEADER_ELEMENTS: usize = 3;

/// The size beyond which a frame ends the connection, where messages up to `max_message_bytes` are read: four
/// times as much. A message in between is answered by what its header says.
pub const fn max_frame_bytes(max_message_bytes: usize) -> usize {
    max_message_bytes.saturating_mul(4)
}

/// Reads messages of one connection.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    /// How messages are serialized.
    pub serializer: Serializer,
    /// How much structure a message may have.
    pub limits: Limits,
    /// Up to which size a message is read in full. Of a larger one only the header is, to answer it.
    pub max_message_bytes: usize,
}

impl Reader {
    /// Reads a message.
    ///
    /// # Errors
    /// [`Malformed`], and what `salvage` makes of the elements in front of the culprit: whom it concerned.
    pub fn read<S>(&self, bytes: &[u8], salvage: impl Fn(&[Value]) -> S) -> Result<Message, (S, Malformed)> {
        let (size, max) = (bytes.len(), self.max_message_bytes);
        let mut elements = Vec::with_capacity(8);
        if size > max {
            // What the header lacks, the salvage finds out.
            let _ = self.serializer.decode(bytes, &self.limits, Some(HEADER_ELEMENTS), &mut elements);
            return Err((salvage(&elements), Malformed::TooLarge { size, max }));
        }
        let decoded = self.serializer.decode(bytes, &self.limits, None, &mut elements);
        let concerned = salvage(&elements);
        match decoded {
            Err(error) => Err((concerned, error.into())),
            Ok(()) => Message::parse(&mut elements).map_err(|error| (concerned, error.into())),
        }
    }
}
