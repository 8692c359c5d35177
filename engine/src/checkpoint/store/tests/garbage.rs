//! Garbage: what a kept manifest names is never removed, and the rest does not pile up.

use std::collections::BTreeSet;

use futures::TryStreamExt as _;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::checkpoint::chain;
use crate::checkpoint::manifest::tests::seed;

async fn state_files(inner: &InMemory, store: &Store) -> BTreeSet<String> {
    let folder = store.place("state");
    let files: Vec<_> = inner.list(Some(&folder)).try_collect().await.unwrap();
    files
        .iter()
        .map(|meta| store.relative(&meta.location).unwrap())
        .collect()
}

#[test]
fn nothing_that_is_kept_loses_a_file() {
    run(async {
        let seed = seed();
        for round in 0..20 {
            let mut rng = StdRng::seed_from_u64(seed + round);
            let (inner, store) = memory();
            let (mut claim, mut last) = start(&store, "w", 0).await;
            let retain = rng.random_range(1..4);
            for step in 0..40 {
                let mut next = following(&store, &claim, &last).await;
                let files = &mut next.nodes[0].chains[0].files;
                match rng.random_range(0..6) {
                    0 => drop(files.drain(..files.len() - 1)),
                    1 => next.kind = ManifestKind::Savepoint,
                    _ => {}
                }
                let files = &mut next.nodes[0].chains[0].files;
                if let Some(run) = chain::plan(files) {
                    let merged = store
                        .merge(
                            claim.generation,
                            next.epoch,
                            "agg/1",
                            0,
                            1,
                            &files[run.clone()],
                        )
                        .await
                        .unwrap();
                    files.splice(run, merged);
                }
                if rng.random_bool(0.2) {
                    // What is written for an epoch that is not published yet must survive.
                    store.collect(retain).await.unwrap();
                }
                assert_eq!(store.publish(&next).await.unwrap(), Published::Durable);
                last = next;
                if rng.random_bool(0.1) {
                    claim = store.claim(&format!("w{step}")).await.unwrap();
                    last = store.fence(&claim, "orders").await.unwrap();
                }
                if rng.random_bool(0.5) {
                    store.collect(retain).await.unwrap();
                    let mut named = BTreeSet::new();
                    let listed = store.list().await.unwrap();
                    let savepoint = |m: &Manifest| m.kind == ManifestKind::Savepoint;
                    for (at, listed) in listed.iter().enumerate() {
                        let manifest = listed.manifest.as_ref().unwrap();
                        assert!(
                            at < retain || savepoint(manifest),
                            "round {round}, step {step}"
                        );
                        store.verify(manifest).await.unwrap();
                        named.extend(manifest.files().map(|file| file.path.clone()));
                    }
                    assert!(listed.len() >= retain.min(last.epoch as usize));
                    assert_eq!(
                        state_files(&inner, &store).await,
                        named,
                        "round {round}, step {step}"
                    );
                    assert_eq!(store.generations().await.unwrap().len(), 1);
                }
            }
        }
    });
}

#[test]
fn damaged_manifests_do_not_count() {
    run(async {
        let (inner, store) = memory();
        let (_, last) = start(&store, "a", 4).await;
        for ending in [MANIFEST, COPY] {
            let place = store.manifest_place(last.epoch, ending);
            inner
                .put(&place, PutPayload::from_static(b"x"))
                .await
                .unwrap();
        }
        store.collect(2).await.unwrap();
        // The damaged one is left to be looked at; two whole ones are kept.
        let epochs: Vec<u64> = store.epochs().await.unwrap().into_iter().collect();
        assert_eq!(epochs, [3, 4, 5]);
        store
            .verify(&store.inspect(3).await.unwrap())
            .await
            .unwrap();
    });
}
