//! Two instances: exactly one extends the log.

use super::*;

#[test]
fn the_old_instance_is_fenced() {
    run(async {
        let (_, store) = memory();
        let (old, last) = start(&store, "old", 2).await;
        let late = following(&store, &old, &last).await;
        let claim = store.claim("new").await.unwrap();
        let fence = store.fence(&claim, "orders").await.unwrap();
        assert_eq!(fence.epoch, late.epoch);
        let by = claim.generation;
        assert_eq!(
            store.publish(&late).await.unwrap(),
            Published::Fenced { by }
        );
        let next = following(&store, &claim, &fence).await;
        assert_eq!(store.publish(&next).await.unwrap(), Published::Durable);
        // The old one, had it slept until now, could not tell whose its tokens are.
        let error = store.publish(&late).await.unwrap_err();
        assert_eq!(error.code(), codes::FENCED);
        assert!(is_unknown(&error));
        // Asked again, the answer is the same.
        assert_eq!(store.publish(&next).await.unwrap(), Published::Durable);
        assert_eq!(store.inspect(fence.epoch).await.unwrap(), fence);
    });
}

#[test]
fn an_old_instance_that_publishes_first_is_taken_over_from() {
    run(async {
        let (_, store) = memory();
        let (old, last) = start(&store, "old", 1).await;
        let claim = store.claim("new").await.unwrap();
        let late = following(&store, &old, &last).await;
        assert_eq!(store.publish(&late).await.unwrap(), Published::Durable);
        let fence = store.fence(&claim, "orders").await.unwrap();
        assert_eq!(
            (fence.epoch, fence.restored_from),
            (late.epoch + 1, Some(late.epoch))
        );
        assert_eq!(fence.nodes, late.nodes);
        assert_eq!(fence.commits, late.commits);
    });
}

#[test]
fn the_newest_of_many_claims_wins() {
    run(async {
        let (_, store) = memory();
        start(&store, "first", 1).await;
        let claims = futures::future::join_all(["a", "b", "c", "d"].map(|w| store.claim(w))).await;
        let mut claims: Vec<Claim> = claims.into_iter().map(Result::unwrap).collect();
        claims.sort_by_key(|claim| claim.generation);
        let generations: Vec<u64> = claims.iter().map(|claim| claim.generation).collect();
        assert_eq!(generations, [2, 3, 4, 5]);
        let fences =
            futures::future::join_all(claims.iter().map(|c| store.fence(c, "orders"))).await;
        let newest = fences.last().unwrap().as_ref().unwrap();
        assert_eq!(newest.generation, 5);
        for (claim, fence) in claims.iter().zip(&fences) {
            match fence {
                Err(error) => assert_eq!(error.code(), codes::FENCED),
                // Who came first holds nothing any more once a newer one has followed.
                Ok(fence) if fence.generation < 5 => {
                    let next = following(&store, claim, fence).await;
                    match store.publish(&next).await {
                        Ok(published) => assert_ne!(published, Published::Durable),
                        Err(error) => assert_eq!(error.code(), codes::FENCED),
                    }
                }
                Ok(_) => {}
            }
        }
        let next = following(&store, &claims[3], newest).await;
        assert_eq!(store.publish(&next).await.unwrap(), Published::Durable);
    });
}

/// An old instance that publishes more than one epoch meanwhile is no newer one.
#[test]
fn several_epochs_of_an_old_instance_are_taken_over_from() {
    run(async {
        let (_, store) = memory();
        let (old, mut last) = start(&store, "old", 1).await;
        let claim = store.claim("new").await.unwrap();
        let pinned = store.claim_at("newer", Some(1)).await.unwrap();
        for _ in 0..3 {
            last = following(&store, &old, &last).await;
            assert_eq!(store.publish(&last).await.unwrap(), Published::Durable);
        }
        let fence = store.fence(&claim, "orders").await.unwrap();
        assert_eq!(
            (fence.epoch, fence.restored_from),
            (last.epoch + 1, Some(last.epoch))
        );
        let fence = store.fence(&pinned, "orders").await.unwrap();
        assert_eq!(
            (fence.epoch, fence.restored_from),
            (last.epoch + 2, Some(1))
        );
    });
}

/// A write that was held up until its place was collected must not count as published.
#[test]
fn a_place_that_was_collected_is_not_free() {
    run(async {
        let (_, store) = memory();
        let (old, last) = start(&store, "old", 1).await;
        let late = following(&store, &old, &last).await;
        start(&store, "new", 5).await;
        store.collect(2).await.unwrap();
        let error = store.publish(&late).await.unwrap_err();
        assert!(is_unknown(&error), "{error:?}");
        let claim = store.claim("next").await.unwrap();
        assert_eq!(
            claim.latest.map(|latest| latest.writer),
            Some("new".to_owned())
        );
    });
}
