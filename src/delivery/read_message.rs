//! A message, read once for all attempts to deliver it.

use super::answer::Answer;
use crate::event::{self, ImagePush, Message, NotForUs};
use crate::image::ImageRef;

/// A message and what it is about. The payload is not kept: it may be megabytes.
#[derive(Debug)]
pub struct ReadMessage {
    /// Without its data.
    pub(super) message: Message,
    /// The push that it reports, or why there is nothing to do.
    pub(super) push: Result<ImagePush, NotForUs>,
}

impl ReadMessage {
    /// Its id.
    pub fn id(&self) -> Option<&str> {
        self.message.id.as_deref()
    }

    /// The image that was pushed, or the answer that says why there is nothing to do.
    ///
    /// # Errors
    /// It is no push.
    pub fn image(&self) -> Result<&ImageRef, Box<Answer>> {
        let push = self.push.as_ref().map(|push| &push.image);
        push.map_err(|not_for_us| Box::new(Answer::ignored(not_for_us.clone())))
    }

    /// Reads the payload.
    pub fn of(mut message: Message) -> Self {
        let push = event::artifact::decode(&std::mem::take(&mut message.data));
        Self { message, push }
    }
}
