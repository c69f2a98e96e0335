//! One query in, one answer out: a function of the bytes and the names.

use hickory_proto::op::{Edns, Message, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use mesh_core::names::{Answer, Found, Names, ROOT};

/// How long an answer may be kept: a device that is removed or gets another address is not looked for in the old place.
const TTL: u32 = 15;
/// How long it may be kept that there is none: a device that has just joined is soon found.
const NEGATIVE_TTL: u32 = 5;
/// The largest answer over UDP that we say we take; ours are far below 512 bytes, which everybody takes.
const MAX_PAYLOAD: u16 = 1232;

/// The answer to a message; none to what is no query, lest two servers keep answering each other.
pub(super) fn answer(query: &[u8], names: &Names) -> Option<Vec<u8>> {
    let (header, _) = query.split_first_chunk::<12>()?;
    let [id_0, id_1, flags, _, counts @ ..] = *header;
    if flags & 0x80 != 0 {
        return None;
    }
    let id = u16::from_be_bytes([id_0, id_1]);
    // One question, no answers, and at most the options and a signature. Looked at before room is made for them.
    let read = match counts {
        [0, 1, 0, 0, 0, 0, 0, 0..=2] => Message::from_vec(query).ok(),
        _ => None,
    };
    let Some(read) = read else {
        let op = OpCode::from_u8(flags >> 3 & 0x0f);
        return Message::error_msg(id, op, ResponseCode::FormErr)
            .to_vec()
            .ok();
    };
    respond(&read, names).to_vec().ok()
}

/// The labels of a name that somebody typed.
pub(crate) fn labels(name: &str) -> Vec<&[u8]> {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.split('.').map(str::as_bytes).collect()
}

fn respond(query: &Message, names: &Names) -> Message {
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata = Metadata::response_from_request(&query.metadata);
    response.add_queries(query.queries.iter().cloned());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_PAYLOAD);
        response.set_edns(edns);
    }
    let [question] = &query.queries[..] else {
        response.metadata.response_code = ResponseCode::FormErr;
        return response;
    };
    if query.metadata.op_code != OpCode::Query {
        response.metadata.response_code = ResponseCode::NotImp;
        return response;
    }
    if query.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        response.metadata.response_code = ResponseCode::BADVERS;
        return response;
    }
    let labels: Vec<&[u8]> = question.name().iter().collect();
    let found = Some(&labels)
        .filter(|_| question.query_class() == DNSClass::IN)
        .and_then(|labels| names.find(labels));
    let Some(Answer { domain, found }) = found else {
        response.metadata.response_code = ResponseCode::Refused;
        return response;
    };
    response.metadata.authoritative = true;
    if found == Found::Nothing {
        response.metadata.response_code = ResponseCode::NXDomain;
    }
    let authority = authority(&domain);
    let is_apex = authority
        .as_ref()
        .is_some_and(|soa| soa.name == *question.name());
    let name = question.name();
    let kind = question.query_type();
    let mut answers = records(name, kind, &found);
    if is_apex && matches!(kind, RecordType::SOA | RecordType::ANY) {
        answers.extend(authority.clone());
    }
    if answers.is_empty() {
        response.add_authorities(authority);
    }
    response.add_answers(answers);
    response
}

fn records(name: &Name, kind: RecordType, found: &Found) -> Vec<Record> {
    let wants = |wanted| kind == wanted || kind == RecordType::ANY;
    let data: Vec<RData> = match found {
        Found::Host(host) => {
            let v4 = host.v4.filter(|_| wants(RecordType::A));
            let v6 = Some(host.v6).filter(|_| wants(RecordType::AAAA));
            let v4 = v4.map(|v4| RData::A(A(v4)));
            v4.into_iter()
                .chain(v6.map(|v6| RData::AAAA(AAAA(v6))))
                .collect()
        }
        Found::Address(host) if wants(RecordType::PTR) => absolute(host)
            .map(|host| RData::PTR(PTR(host)))
            .into_iter()
            .collect(),
        _ => Vec::new(),
    };
    let record = |data| Record::from_rdata(name.clone(), TTL, data);
    data.into_iter().map(record).collect()
}

/// What tells that, and for how long, there is nothing. Nobody transfers the zone: the numbers for that mean little.
fn authority(domain: &str) -> Option<Record> {
    let soa = SOA::new(
        absolute(ROOT)?,
        absolute(&format!("hostmaster.{ROOT}"))?,
        1,
        3600,
        600,
        86_400,
        NEGATIVE_TTL,
    );
    Some(Record::from_rdata(
        absolute(domain)?,
        NEGATIVE_TTL,
        RData::SOA(soa),
    ))
}

fn absolute(name: &str) -> Option<Name> {
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    Some(name)
}
