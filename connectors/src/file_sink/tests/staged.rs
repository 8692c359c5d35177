//! Files of one part in an object store: hidden until they are copied, which can be repeated.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use weir_engine::error::Kind;
use weir_engine::message::Epoch;
use weir_engine::sink::Start;

use super::objects::{keys, location};
use super::{Rig, rows};

/// What goes wrong with a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copies {
    /// This user may not.
    Refused,
    /// It is made, and the answer is lost.
    Unanswered,
}

/// A store in memory whose copies go wrong.
#[derive(Debug)]
struct Odd {
    inner: Arc<InMemory>,
    copies: Copies,
    made: AtomicU32,
}

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Odd")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Odd {
    async fn put_opts(&self, at: &Path, data: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(at, data, how).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, how).await
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(at, how).await
    }

    fn delete_stream(
        &self,
        at: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(at)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        let source = "as the test has it".into();
        match self.copies {
            Copies::Refused => Err(Error::PermissionDenied {
                path: to.to_string(),
                source,
            }),
            Copies::Unanswered => {
                self.inner.copy_opts(from, to, how).await?;
                match self.made.fetch_add(1, Ordering::Relaxed) {
                    // The check's own, and the first of a commit.
                    0 | 2.. => Ok(()),
                    1 => Err(Error::Generic {
                        store: "S3",
                        source,
                    }),
                }
            }
        }
    }
}

#[tokio::test]
async fn a_small_file_is_hidden_until_its_commit_which_can_be_repeated() {
    let (rig, store) = (Rig::new(), Arc::new(InMemory::new()));
    let batch = rows(0..100, |n| Some(n.to_string()));
    let at = location(&store, "p");
    let sink = rig.sink_at(at, &batch.schema(), &[]).await.unwrap();
    sink.check(&batch.schema(), Start::Fresh).await.unwrap();
    assert!(keys(&store).await.is_empty(), "the check leaves something");
    let mut writer = rig.writer(&sink, &batch.schema()).await;
    writer.write(batch.clone()).await.unwrap();
    let tokens = writer.prepare().await.unwrap();
    let [hidden] = keys(&store).await.try_into().unwrap();
    assert!(hidden.starts_with("p/_temporary/"), "{hidden}");
    sink.commit(Epoch(1), &tokens).await.unwrap();
    let visible = keys(&store).await;
    assert_eq!(visible.len(), 1);
    assert!(
        visible.iter().all(|key| !key.contains("_temporary")),
        "{visible:?}"
    );
    sink.commit(Epoch(1), &tokens).await.unwrap();
    sink.abort(tokens.first().unwrap()).await.unwrap();
    assert_eq!(keys(&store).await, visible);
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_made_again() {
    let (rig, store) = (Rig::new(), Arc::new(InMemory::new()));
    let batch = rows(0..100, |n| Some(n.to_string()));
    let mut at = location(&store, "p");
    at.store = Arc::new(Odd {
        inner: Arc::clone(&store),
        copies: Copies::Unanswered,
        made: AtomicU32::new(0),
    });
    let sink = rig.sink_at(at, &batch.schema(), &[]).await.unwrap();
    sink.check(&batch.schema(), Start::Fresh).await.unwrap();
    let mut writer = rig.writer(&sink, &batch.schema()).await;
    writer.write(batch.clone()).await.unwrap();
    let tokens = writer.prepare().await.unwrap();
    let lost = sink.commit(Epoch(1), &tokens).await.unwrap_err();
    assert_eq!(lost.kind(), Kind::Unavailable);
    assert_eq!(keys(&store).await.len(), 2);
    sink.commit(Epoch(1), &tokens).await.unwrap();
    assert_eq!(keys(&store).await.len(), 1);
}

#[tokio::test]
async fn who_may_not_copy_uploads() {
    let (rig, store) = (Rig::new(), Arc::new(InMemory::new()));
    let batch = rows(0..100, |n| Some(n.to_string()));
    let mut at = location(&store, "p");
    at.store = Arc::new(Odd {
        inner: Arc::clone(&store),
        copies: Copies::Refused,
        made: AtomicU32::new(0),
    });
    let sink = rig.sink_at(at, &batch.schema(), &[]).await.unwrap();
    sink.check(&batch.schema(), Start::Fresh).await.unwrap();
    let mut writer = rig.writer(&sink, &batch.schema()).await;
    writer.write(batch.clone()).await.unwrap();
    let tokens = writer.prepare().await.unwrap();
    assert!(keys(&store).await.is_empty());
    sink.commit(Epoch(1), &tokens).await.unwrap();
    assert_eq!(keys(&store).await.len(), 1);
}
