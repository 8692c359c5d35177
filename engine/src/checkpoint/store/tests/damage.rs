//! Damage: what is lost or changed is told, and the newest epoch that is whole is taken.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::checkpoint::manifest::tests::{mutate, seed};

async fn overwrite(inner: &InMemory, place: &Path, bytes: Vec<u8>) {
    inner.put(place, PutPayload::from(bytes)).await.unwrap();
}

async fn bytes_of(inner: &InMemory, place: &Path) -> Vec<u8> {
    let found = inner.get(place).await.unwrap();
    found.bytes().await.unwrap().to_vec()
}

#[test]
fn one_damaged_manifest_is_read_from_its_mirror() {
    run(async {
        for ending in [MANIFEST, COPY] {
            let (inner, store) = memory();
            let (_, last) = start(&store, "a", 2).await;
            let place = store.manifest_place(last.epoch, ending);
            let mut bytes = bytes_of(&inner, &place).await;
            bytes[70] ^= 1;
            overwrite(&inner, &place, bytes).await;
            let claim = store.claim("b").await.unwrap();
            assert_eq!(claim.latest.as_ref(), Some(&last), "{ending}");
            inner.delete(&place).await.unwrap();
            let claim = store.claim("c").await.unwrap();
            assert_eq!(claim.latest.as_ref(), Some(&last), "{ending}");
            assert_eq!(
                store.fence(&claim, "orders").await.unwrap().epoch,
                last.epoch + 1
            );
        }
    });
}

#[test]
fn falls_back_over_damaged_epochs_and_never_uses_their_numbers_again() {
    run(async {
        let (inner, store) = memory();
        let (_, last) = start(&store, "a", 4).await;
        for ending in [MANIFEST, COPY] {
            let place = store.manifest_place(last.epoch, ending);
            overwrite(&inner, &place, b"weir".to_vec()).await;
        }
        // Epoch 4 lacks a state file; epoch 3 is whole.
        let newest = store.inspect(4).await.unwrap();
        let file = newest.nodes[0].chains[0].files.last().unwrap();
        inner.delete(&store.place(&file.path)).await.unwrap();
        let claim = store.claim("b").await.unwrap();
        let rejected: Vec<u64> = claim.rejected.iter().map(|r| r.epoch).collect();
        assert_eq!(rejected, [5, 4]);
        assert!(
            claim.rejected[1].why.contains("is missing"),
            "{:?}",
            claim.rejected
        );
        assert_eq!(claim.latest.as_ref().map(|latest| latest.epoch), Some(3));
        let restored = store.fence(&claim, "orders").await.unwrap();
        assert_eq!((restored.epoch, restored.restored_from), (6, Some(3)));
    });
}

#[test]
fn a_file_of_another_size_is_not_restored() {
    run(async {
        let (inner, store) = memory();
        let (_, last) = start(&store, "a", 2).await;
        let outbox = last.commits[0].tokens[0].outbox.clone().unwrap();
        let place = store.place(&outbox.path);
        let mut bytes = bytes_of(&inner, &place).await;
        bytes.pop();
        overwrite(&inner, &place, bytes).await;
        let claim = store.claim("b").await.unwrap();
        assert_eq!(claim.latest.map(|latest| latest.epoch), Some(2));
        let error = store.verify(&last).await.unwrap_err();
        assert_eq!(error.code(), codes::CHECKPOINT_CORRUPT);
    });
}

#[test]
fn a_newer_format_is_not_passed_over() {
    run(async {
        let (inner, store) = memory();
        let (_, mut last) = start(&store, "a", 1).await;
        last.format += 1;
        let place = store.manifest_place(last.epoch, MANIFEST);
        overwrite(&inner, &place, last.encode().unwrap()).await;
        let error = store.claim("b").await.unwrap_err();
        assert_eq!(error.code(), codes::CHECKPOINT_FORMAT);
        let error = store.collect(1).await.unwrap_err();
        assert_eq!(error.code(), codes::CHECKPOINT_FORMAT);
    });
}

/// Any damage to any file: the claim gives an epoch that is really whole, or verifying tells.
#[test]
fn random_damage_never_gives_a_wrong_answer() {
    run(async {
        let (inner, store) = memory();
        let (_, last) = start(&store, "a", 2).await;
        let before = store.inspect(last.epoch - 1).await.unwrap();
        let mut rng = StdRng::seed_from_u64(seed());
        let state = last.nodes[0].chains[0].files.last().unwrap().path.clone();
        let manifests = [MANIFEST, COPY].map(|ending| store.manifest_place(last.epoch, ending));
        let outbox = last.commits[0].tokens[0].outbox.clone().unwrap();
        let files = [store.place(&state), store.place(&outbox.path)];
        for round in 0..300 {
            let places = if round % 2 == 0 { &manifests } else { &files };
            let mut kept = Vec::new();
            for place in places {
                let bytes = bytes_of(&inner, place).await;
                let (_, changed) = mutate(&bytes, &mut rng);
                overwrite(&inner, place, changed).await;
                kept.push((place, bytes));
            }
            let latest = store.claim("b").await.unwrap().latest.unwrap();
            if latest == last {
                let error = store.verify(&latest).await.unwrap_err();
                assert_eq!(error.code(), codes::CHECKPOINT_CORRUPT, "round {round}");
            } else {
                assert_eq!(latest, before, "round {round}");
                store.verify(&latest).await.unwrap();
            }
            for (place, bytes) in kept {
                overwrite(&inner, place, bytes).await;
            }
        }
        assert_eq!(store.claim("c").await.unwrap().latest, Some(last));
    });
}
