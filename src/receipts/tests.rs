//! A file of receipts is right as it was exported, and wrong after any change; what is signed stays proven even when
//! the digests are made anew.

use std::collections::BTreeSet;

use serde_json::Value;
use xbr_core::channel::{Channel, ChannelState, ChannelTerms, CloseRecord, SaleRecord};
use xbr_core::{
    Address, Amount, ApiId, BuyerKey, ChannelId, ChannelSeq, DelegateKey, Eip712, KeyId, MarketId, Signer,
};
use xbr_store::{MasterKey, ReadOnlyStore, SqliteStore, Store};

use super::{BEGINNING, Exported, Format, Parties, Row, RowProblem, Verdict, export, verify};

fn market_maker() -> DelegateKey {
    DelegateKey::from_bytes(&[0x11; 32]).unwrap()
}

fn seller() -> DelegateKey {
    DelegateKey::from_bytes(&[0x22; 32]).unwrap()
}

fn terms(n: u8) -> ChannelTerms {
    ChannelTerms {
        channel_id: ChannelId::new([n; 16]),
        market_id: MarketId::new([0x31; 16]),
        market_maker: market_maker().address(),
        delegate: seller().address(),
        amount: Amount::from_xbr(1000),
        chain_id: Amount::from_units(5777),
        verifying_contract: Address::new([0x44; 20]),
        close_at: Amount::from_units(1),
    }
}

fn at(seq: u32, xbr: u64) -> ChannelState {
    ChannelState { seq: ChannelSeq::new(seq), balance: Amount::from_xbr(xbr) }
}

fn sale(n: u8, before: ChannelState, state: ChannelState, amount: u64, surplus: u64) -> SaleRecord {
    let message = terms(n).state(state.seq, state.balance, false);
    SaleRecord {
        channel_id: terms(n).channel_id,
        key_id: KeyId::new([0x55; 16]),
        buyer_key: BuyerKey::new([0x66; 32]),
        before,
        state,
        amount: Amount::from_xbr(amount),
        surplus: Amount::from_xbr(surplus),
        sealed_key: vec![0x77; 80],
        market_maker_signature: message.sign(&market_maker()).unwrap(),
        signature: message.sign(&seller()).unwrap(),
        sold_ns: 1_700_000_000_123_456_789,
        api_id: Some(ApiId::new([0x88; 16])),
    }
}

fn close(n: u8, before: ChannelState, state: ChannelState, surplus: u64, is_final: bool) -> CloseRecord {
    let message = terms(n).state(state.seq, state.balance, is_final);
    CloseRecord {
        channel_id: terms(n).channel_id,
        before,
        state,
        surplus: Amount::from_xbr(surplus),
        is_final,
        market_maker_signature: message.sign(&market_maker()).unwrap(),
        signature: message.sign(&seller()).unwrap(),
    }
}

/// Two channels: one with a gap and a close between its sales, one that was closed for good.
async fn exported(format: Format) -> (String, Exported) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seller.db");
    let store = SqliteStore::open(&path, MasterKey::from_bytes([1; 32])).unwrap();
    for n in [1, 2] {
        store.attach_channel(Channel::adopt(terms(n), at(1, 1000))).await.unwrap();
    }
    for record in [
        sale(1, at(1, 1000), at(2, 965), 35, 0),
        sale(1, at(2, 965), at(5, 900), 35, 30),
        sale(2, at(1, 1000), at(2, 990), 10, 0),
    ] {
        store.commit_sale(record).await.unwrap();
    }
    store.commit_close(close(1, at(5, 900), at(6, 890), 10, false)).await.unwrap();
    store.commit_close(close(2, at(2, 990), at(2, 990), 0, true)).await.unwrap();
    store.commit_sale(sale(1, at(6, 890), at(7, 855), 35, 0)).await.unwrap();
    let mut file = Vec::new();
    let reader = ReadOnlyStore::open(&path, MasterKey::from_bytes([1; 32])).unwrap();
    let exported = export(&reader, None, format, &mut file).unwrap();
    (String::from_utf8(file).unwrap(), exported)
}

fn check(text: &str) -> Verdict {
    verify(text.as_bytes(), Parties::default()).unwrap()
}

/// Another value of the same form.
fn changed(value: &Value) -> Value {
    match value {
        Value::Bool(flag) => Value::Bool(!flag),
        Value::Number(number) => Value::from(number.as_u64().unwrap() + 1),
        Value::String(text) => Value::String(changed_text(text)),
        other => panic!("a row holds no {other}"),
    }
}

fn changed_text(text: &str) -> String {
    match text {
        "sale" => return "close".to_owned(),
        "close" => return "sale".to_owned(),
        "channel" | "end" => return "sale".to_owned(),
        "true" => return "false".to_owned(),
        "false" => return "true".to_owned(),
        _ => {}
    }
    // The last digit: it leaves the form as it is.
    let place = text.rfind(|c: char| c.is_ascii_hexdigit()).unwrap();
    let digit = if text.as_bytes()[place] == b'1' { "2" } else { "1" };
    format!("{}{digit}{}", &text[..place], &text[place + 1..])
}

#[tokio::test]
async fn a_file_is_right_as_it_was_exported() {
    for format in [Format::Csv, Format::Json] {
        let (text, exported) = exported(format).await;
        let verdict = check(&text);
        assert_eq!((verdict.wrong, verdict.findings), (0, vec![]), "{text}");
        assert_eq!(verdict.held, exported);
        assert_eq!((exported.channels, exported.sales, exported.closes), (2, 4, 2));
        assert_eq!((exported.amount, exported.surplus), (Amount::from_xbr(115), Amount::from_xbr(40)));
        assert_eq!(verdict.sellers, BTreeSet::from([seller().address()]));
        let others = Parties { seller: Some(market_maker().address()), market_maker: None };
        let verdict = verify(text.as_bytes(), others).unwrap();
        assert!(matches!(verdict.findings[0].problem, RowProblem::OtherParty { role: "seller", .. }));
    }
}

#[tokio::test]
async fn every_change_of_a_field_is_found_in_its_row() {
    let (text, _) = exported(Format::Json).await;
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (index, row) in rows.iter().enumerate() {
        for (field, value) in row.as_object().unwrap().iter().filter(|(_, value)| !value.is_null()) {
            for new in [changed(value), Value::Null] {
                let mut rows = rows.clone();
                rows[index][field] = new.clone();
                let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
                let found = check(&text).findings;
                let line = index as u64 + 1;
                assert!(found.iter().any(|it| it.line == line), "{field} = {new}, line {line}: {found:?}");
            }
        }
    }
}

#[tokio::test]
async fn every_change_of_a_cell_is_found_in_its_line() {
    let (text, _) = exported(Format::Csv).await;
    let lines: Vec<&str> = text.lines().collect();
    for (index, line) in lines.iter().enumerate().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        for column in (0..cells.len()).filter(|column| !cells[*column].is_empty()) {
            let mut cells: Vec<String> = cells.iter().map(|cell| (*cell).to_owned()).collect();
            cells[column] = changed_text(&cells[column]);
            let changed_line = cells.join(",");
            let mut lines = lines.clone();
            lines[index] = &changed_line;
            let found = check(&lines.join("\n")).findings;
            assert!(found.iter().any(|it| it.line == index as u64 + 1), "{changed_line}: {found:?}");
        }
    }
    assert!(verify(text.replacen("balance", "ballance", 1).as_bytes(), Parties::default()).is_err());
    assert!(verify("a,b\n1,2\n".as_bytes(), Parties::default()).is_err());
}

#[tokio::test]
async fn rows_that_are_missing_doubled_or_exchanged_are_found() {
    let (text, _) = exported(Format::Json).await;
    let lines: Vec<&str> = text.lines().collect();
    let wrong = |lines: &[&str]| check(&lines.join("\n")).wrong;
    assert_eq!(wrong(&lines), 0);
    for index in 0..lines.len() {
        let mut fewer = lines.clone();
        fewer.remove(index);
        assert!(wrong(&fewer) > 0, "without line {}", index + 1);
        let mut more = lines.clone();
        more.insert(index, lines[index]);
        assert!(wrong(&more) > 0, "line {} twice", index + 1);
        if index > 0 {
            let mut exchanged = lines.clone();
            exchanged.swap(index - 1, index);
            assert!(wrong(&exchanged) > 0, "lines {index} and the next");
            let cut = check(&lines[..index].join("\n")).findings;
            assert!(cut.iter().any(|it| it.problem == RowProblem::CutOff), "cut after line {index}");
        }
    }
    assert!(wrong(&[&lines[..], &["nonsense"]].concat()) > 0);
}

/// All digests made anew, as somebody would who wants to deceive.
fn with_new_digests(rows: &[Value]) -> String {
    let mut digest = BEGINNING.to_owned();
    let rows = rows.iter().map(|row| {
        let mut row: Row = serde_json::from_value(row.clone()).unwrap();
        row.digest = row.digest_behind(&digest).unwrap();
        digest.clone_from(&row.digest);
        format!("{}\n", serde_json::to_string(&row).unwrap())
    });
    rows.collect()
}

#[tokio::test]
async fn what_both_sides_signed_stays_proven_under_new_digests() {
    let (text, _) = exported(Format::Json).await;
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut unproven = BTreeSet::new();
    for (index, row) in rows.iter().enumerate() {
        let fields = row.as_object().unwrap().iter().filter(|(_, value)| !value.is_null());
        for (field, value) in fields.filter(|(field, _)| *field != "digest") {
            let mut rows = rows.clone();
            rows[index][field] = changed(value);
            if check(&with_new_digests(&rows)).wrong == 0 {
                unproven.insert(format!("{} {field}", row["kind"].as_str().unwrap()));
            }
        }
    }
    let books =
        ["channel amount", "sale api", "sale buyer_key", "sale key", "sale sealed_key", "sale sold_at"];
    assert_eq!(unproven, books.map(str::to_owned).into());
}
