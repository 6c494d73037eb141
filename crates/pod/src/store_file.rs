//! Attachments' bytes: taken in before the commit that names them, given out by their address.

use adea_documents::record::{Attachment, Encoding};
use adea_files::{
    BlobReader, Content, Digest, Encoding as StoredEncoding, Pin, StoredBlob, Treatment, Upload,
    UploadOptions,
};
use bytes::Bytes;

use crate::error::PodError;
use crate::pod::Pod;

/// An attachment whose bytes are stored, or will be in the commit that names it.
#[derive(Debug)]
pub struct StoredFile {
    pub(crate) attachment: Attachment,
    pub(crate) inline: Option<Bytes>,
    /// Its length without any encoding.
    identity_length: u64,
    pub(crate) pin: Pin,
}

impl StoredFile {
    /// What a document remembers of it.
    #[must_use]
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// Says under which generation it came; 0 for that of the revision that names it first.
    pub fn set_revision_position(&mut self, generation: u64) {
        self.attachment.revision_position = generation;
    }

    /// Takes the length that the sender tells of it without its encoding; false if it is another.
    ///
    /// Of gzip that was uploaded as it is, `CouchDB` tells the stored length as the length, so that
    /// one is known from its replications and goes too.
    #[must_use]
    pub fn confirm_length(&mut self, length: u64) -> bool {
        let known = length == self.identity_length || length == self.attachment.stored_length;
        if known {
            self.attachment.length = length;
        }
        known
    }

    /// How many of its bytes are held in memory until it is written.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.inline.as_ref().map_or(0, Bytes::len)
    }
}

/// Whether `CouchDB` compresses attachments of this type.
fn is_compressible(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or("").trim();
    essence
        .get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("text/"))
        || [
            "application/javascript",
            "application/json",
            "application/xml",
        ]
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
}

impl Pod {
    /// Begins to take in an attachment; `encoding` is what the sender says of its bytes.
    #[must_use]
    pub fn begin_upload(&self, content_type: &str, encoding: Encoding) -> Upload {
        self.begin(content_type, encoding, UploadOptions::default())
    }

    /// Begins to take in an attachment that becomes a file, however short: nothing of it is held.
    #[must_use]
    pub fn begin_upload_to_file(&self, content_type: &str, encoding: Encoding) -> Upload {
        let options = UploadOptions {
            memory_threshold: 0,
            ..UploadOptions::default()
        };
        self.begin(content_type, encoding, options)
    }

    fn begin(&self, content_type: &str, encoding: Encoding, options: UploadOptions) -> Upload {
        let treatment = match encoding {
            Encoding::Gzip => Treatment::KeepGzip,
            Encoding::Identity if is_compressible(content_type) => Treatment::Compress,
            Encoding::Identity => Treatment::Keep,
        };
        Upload::new(
            &self.inner.files,
            UploadOptions {
                treatment,
                max_length: self.attachment_max(),
                ..options
            },
        )
    }

    /// Ends an upload: the bytes are at hand or durable at their address.
    ///
    /// # Errors
    /// [`PodError::Upload`] if the disk is full or at fault.
    pub async fn finish_upload(
        &self,
        upload: Upload,
        name: &str,
        content_type: &str,
    ) -> Result<StoredFile, PodError> {
        let (blob, pin) = upload.finish().await?;
        Ok(stored_file(blob, pin, name, content_type))
    }

    /// Takes in an attachment whose bytes are all at hand.
    ///
    /// # Errors
    /// [`PodError::Upload`] if it is too large, or the disk is full or at fault.
    pub async fn store_bytes(
        &self,
        name: &str,
        content_type: &str,
        encoding: Encoding,
        bytes: Bytes,
    ) -> Result<StoredFile, PodError> {
        let mut upload = self.begin_upload(content_type, encoding);
        upload.write(bytes).await?;
        self.finish_upload(upload, name, content_type).await
    }

    /// Opens the stored bytes of `attachment`.
    ///
    /// # Errors
    /// [`PodError::Read`] if they are missing or damaged.
    pub async fn open_attachment(&self, attachment: &Attachment) -> Result<BlobReader, PodError> {
        let digest = Digest::from_bytes(attachment.address);
        let inline = adea_files::references::content(self.view().as_ref(), digest)?;
        if let Some(content) = inline {
            return Ok(BlobReader::inline(Bytes::from(content)));
        }
        let opened = self.inner.files.open(digest, attachment.stored_length);
        Ok(opened.await?)
    }
}

fn stored_file(blob: StoredBlob, pin: Pin, name: &str, content_type: &str) -> StoredFile {
    let inline = match blob.content {
        Content::Inline(bytes) => Some(bytes),
        Content::File => None,
    };
    StoredFile {
        attachment: Attachment {
            name: name.to_owned(),
            content_type: content_type.to_owned(),
            revision_position: 0,
            md5: blob.md5,
            address: *blob.digest.as_bytes(),
            length: blob.length,
            stored_length: blob.stored_length,
            encoding: match blob.encoding {
                StoredEncoding::Identity => Encoding::Identity,
                StoredEncoding::Gzip => Encoding::Gzip,
            },
        },
        inline,
        identity_length: blob.identity_length,
        pin,
    }
}
