//! What was answered is there after a crash, and nothing is there by halves.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use xbr_core::ChannelSeq;
use xbr_store::{Store, StoreFuture};

use crate::support::{DEPOSIT, channel, channel_id, nth_sale, open, state};

const CHILD: &str = "XBR_STORE_TEST_CRASH_DIR";

/// Opens what is there and checks that sales and channel agree; how many sales there are.
async fn sound_sales(path: &Path) -> u32 {
    let store = open(path);
    let channels = store.channels().await.unwrap();
    let Some(channel) = channels.first() else { return 0 };
    let sales = u32::try_from(channel.sales).unwrap();
    for i in 1..=sales {
        let record = nth_sale(1, i);
        assert_eq!(store.sale(channel_id(1), record.state.seq).await.unwrap(), Some(record));
    }
    let next = ChannelSeq::new(sales + 2);
    assert_eq!(store.sale(channel_id(1), next).await.unwrap(), None, "a sale without its state");
    assert_eq!(channel.state, state(sales + 1, DEPOSIT - u128::from(sales) * 10));
    store.close().await.unwrap();
    sales
}

#[tokio::test]
async fn a_copy_taken_at_any_answer_holds_all_that_was_answered() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    let store = open(&path);
    store.attach_channel(channel(1)).await.unwrap();
    for i in 1..=20 {
        store.commit_sale(nth_sale(1, i)).await.unwrap();
        let copy = dir.path().join(format!("copy{i}.db"));
        fs::copy(&path, &copy).unwrap();
        fs::copy(dir.path().join("seller.db-wal"), dir.path().join(format!("copy{i}.db-wal"))).unwrap();
        assert_eq!(sound_sales(&copy).await, i);
    }
}

#[tokio::test]
async fn a_log_cut_anywhere_holds_a_whole_number_of_sales() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seller.db");
    let store = open(&path);
    store.attach_channel(channel(1)).await.unwrap();
    for i in 1..=12 {
        store.commit_sale(nth_sale(1, i)).await.unwrap();
    }
    let (database, log) = (fs::read(&path).unwrap(), fs::read(dir.path().join("seller.db-wal")).unwrap());
    let mut last = 0;
    for part in 0..=60 {
        let len = log.len() * part / 60;
        let cut = dir.path().join(format!("cut{part}.db"));
        fs::write(&cut, &database).unwrap();
        fs::write(dir.path().join(format!("cut{part}.db-wal")), &log[..len]).unwrap();
        // A log cut in the very first transaction leaves an empty store, whose schema is made anew.
        let sales = sound_sales(&cut).await;
        assert!(sales >= last, "{sales} after {last}");
        last = sales;
    }
    assert_eq!(last, 12);
}

/// Not a test: what [`a_killed_process_leaves_all_that_it_answered`] starts, and kills.
#[tokio::test]
async fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let store = open(&Path::new(&dir).join("seller.db"));
    store.attach_channel(channel(1)).await.unwrap();
    let mut done = u32::try_from(store.channels().await.unwrap()[0].sales).unwrap();
    loop {
        let pipeline: Vec<StoreFuture<()>> =
            (1..=8).map(|i| store.commit_sale(nth_sale(1, done + i))).collect();
        for answer in pipeline {
            answer.await.unwrap();
            done += 1;
            let mut out = std::io::stdout().lock();
            writeln!(out, "\nanswered {done}").unwrap();
            out.flush().unwrap();
        }
    }
}

#[tokio::test]
async fn a_killed_process_leaves_all_that_it_answered() {
    let dir = tempfile::tempdir().unwrap();
    let mut total = 0;
    for answers in [1, 30, 77, 150] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child", "--nocapture", "--test-threads=1"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let answered = lines
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("answered ")?.parse::<u32>().ok())
            .nth(answers)
            .expect("the child sells until it is killed");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(answered > total);
        total = sound_sales(&dir.path().join("seller.db")).await;
        assert!(total >= answered, "{answered} were answered, {total} are there");
    }
}
