//! How messages become bytes, with buffers of the size of what is usually in them.

use core::marker::PhantomData;
use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstDecoder, ProstEncoder};

/// As [`tonic_prost::ProstCodec`], whose two buffers of 8 KiB for each call cost the allocator more than the messages do:
/// a token or a request fits in half a kilobyte, and what does not lets its buffer grow.
#[derive(Clone, Copy, Debug)]
pub struct Small<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Small<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for Small<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(settings())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(settings())
    }
}

/// What a buffer begins with, and how much of a stream's messages is put together before it is handed on: the second as
/// tonic has it.
fn settings() -> BufferSettings {
    BufferSettings::new(512, 32 << 10)
}
