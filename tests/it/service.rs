//! The streaming service, called through the client, on a store and a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};

use streamway::objects::{Images, PART_BYTES};
use streamway::proto::stream_service::{StreamService, StreamServiceClient, StreamServiceServer};
use streamway::proto::upload_response::File;
use streamway::proto::{
    Image, Order, OrderSearchParams, StreamImageList, StreamOrderList, StreamSumData,
    UploadResponse,
};
use streamway::service::Streams;
use streamway::store::folder::DataFolder;
use streamway::store::sqlite::SqliteStore;
use streamway::{Call, Channel, Code, MessageLimits, Sender, Server, Status, Streaming};
use tempfile::TempDir;

use super::support::{Served, serve};

const ORDERS: u32 = 5_432;

struct Running {
    client: StreamServiceClient,
    served: Served,
    path: PathBuf,
    dir: TempDir,
}

async fn start(server: Server) -> Running {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = DataFolder::open(dir.path()).expect("free");
    let store = SqliteStore::open(&folder, ORDERS).expect("made");
    let images = Images::open(&folder, 0).expect("made");
    let service = StreamServiceServer::new(Streams::new(store, images));
    let served = serve(server.add_service(service)).await;
    let channel = Channel::connect(&served.address).expect("an address");
    Running {
        client: StreamServiceClient::new(channel),
        served,
        path: folder.path().to_owned(),
        dir,
    }
}

impl Running {
    async fn ids(&self, search: OrderSearchParams) -> Result<Vec<i32>, Status> {
        let mut orders = self.client.order_list(search).start().await?;
        let mut ids = Vec::new();
        while let Some(message) = orders.message().await? {
            ids.push(message.order.expect("every message has one").id);
        }
        Ok(ids)
    }

    /// The names of what is stored, and of what is left of uploads.
    fn stored(&self) -> (Vec<String>, Vec<String>) {
        (
            names(&self.path.join("images")),
            names(&self.path.join("staging")),
        )
    }

    /// Ends the server, and with it everything that it still has to clear.
    async fn stop(self) -> TempDir {
        drop(self.client);
        self.served.stop();
        self.served.ended().await;
        self.dir
    }
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).expect("a folder");
    let names = entries.map(|entry| entry.expect("readable").file_name());
    names
        .map(|name| name.into_string().expect("text"))
        .collect()
}

fn part(name: &str, file: &str, content: &[u8]) -> StreamImageList {
    StreamImageList {
        image: Some(Image {
            file_name: name.into(),
            file: file.into(),
            content: content.into(),
        }),
    }
}

#[tokio::test]
async fn all_orders_come_in_the_order_of_their_ids_and_resume_gives_the_rest() {
    let running = start(Server::new()).await;
    let all = running
        .ids(OrderSearchParams::default())
        .await
        .expect("whole");
    assert_eq!(all, (0..5432).collect::<Vec<_>>());
    for (after_id, limit, expected) in [
        (Some(-1), 0, 0..5432),
        (Some(0), 0, 1..5432),
        (Some(999), 0, 1000..5432),
        (Some(1000), 1000, 1001..2001),
        (Some(5430), 5, 5431..5432),
        (Some(5431), 0, 0..0),
        (Some(i32::MAX), 0, 0..0),
        (None, 1, 0..1),
    ] {
        let search = OrderSearchParams {
            after_id,
            limit,
            ..Default::default()
        };
        let ids = running.ids(search).await.expect("whole");
        assert_eq!(ids, expected.collect::<Vec<_>>(), "{after_id:?} {limit}");
    }
}

#[tokio::test]
async fn an_order_has_its_number_and_its_date_and_is_found_by_it() {
    let running = start(Server::new()).await;
    let search = OrderSearchParams {
        from_date: "2024-01-01 01:00:00".into(),
        to_date: "2024-01-01 01:00:01".into(),
        ..Default::default()
    };
    let mut orders = running
        .client
        .order_list(search)
        .start()
        .await
        .expect("open");
    let order = orders.message().await.expect("one").expect("one").order;
    let order = order.expect("every message has one");
    assert_eq!(order.id, 3600);
    assert_eq!(order.order_sn, "20240101010000order_sn");
    assert_eq!(order.date, "2024-01-01 01:00:00");
    assert_eq!(
        orders
            .message()
            .await
            .expect("one")
            .expect("one")
            .order
            .map(|order| order.id),
        Some(3601)
    );
    assert_eq!(orders.message().await.expect("the end"), None);

    let search = OrderSearchParams {
        from_date: "yesterday".into(),
        ..Default::default()
    };
    let status = running.ids(search).await.expect_err("no date");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("YYYY-MM-DD hh:mm:ss"), "{status}");
}

#[tokio::test]
async fn orders_over_the_send_limit_end_the_call_and_the_next_one_works() {
    let running = start(Server::new().limits(MessageLimits::default().send(16))).await;
    for _ in 0..2 {
        let status = running
            .ids(OrderSearchParams::default())
            .await
            .expect_err("too large");
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("larger than max"), "{status}");
    }
}

#[tokio::test]
async fn files_are_stored_whole_and_described() {
    let running = start(Server::new()).await;
    let mut upload = running.client.upload_file().start().await.expect("open");
    for _ in 0..3 {
        let content = vec![7; PART_BYTES / 2 + 1];
        upload
            .send(&part("large", "é", &content))
            .await
            .expect("taken");
    }
    upload
        .send(&part("empty #1.png", "", b""))
        .await
        .expect("taken");
    upload
        .send(&part("text", "file data", b""))
        .await
        .expect("taken");
    let response = upload.finish().await.expect("stored");
    let large = (PART_BYTES as u64 / 2 + 3) * 3;
    assert_eq!(response.file_count, 3);
    assert_eq!(response.byte_count, large + 9);
    let sizes: Vec<_> = response
        .files
        .iter()
        .map(|file| (&*file.name, file.size))
        .collect();
    assert_eq!(sizes, [("large", large), ("empty #1.png", 0), ("text", 9)]);
    assert_eq!(
        response.files[1].sha256,
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    let url = &response.files[2].url;
    let path = url.strip_prefix("file://").expect("a local file");
    assert_eq!(fs::read(path).expect("there"), b"file data");
    assert!(
        response.files[1].url.ends_with("/empty%20%231.png"),
        "{response:?}"
    );
}

#[tokio::test]
async fn an_upload_of_nothing_is_answered_with_nothing() {
    let running = start(Server::new()).await;
    let upload = running.client.upload_file().start().await.expect("open");
    let response = upload.finish().await.expect("nothing to store");
    assert_eq!((response.file_count, response.byte_count), (0, 0));
    assert_eq!(running.stored(), (vec![], vec![]));
}

#[tokio::test]
async fn a_refused_upload_leaves_nothing_once_it_is_answered() {
    let running = start(Server::new()).await;
    for bad in [
        part("", "x", b""),
        part("../x", "x", b""),
        part("a/b", "x", b""),
        part("first", "again", b""),
        StreamImageList { image: None },
    ] {
        let mut upload = running.client.upload_file().start().await.expect("open");
        let good = [
            part("first", "", &[1; 2 * PART_BYTES]),
            part("second", "x", b""),
        ];
        for message in good.iter().chain([&bad]) {
            if upload.send(message).await.is_err() {
                break;
            }
        }
        let status = upload.finish().await.expect_err("refused");
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert_eq!(running.stored(), (vec![], vec![]), "{bad:?}");
    }
}

#[tokio::test]
async fn an_upload_that_the_client_cuts_leaves_nothing() {
    let running = start(Server::new()).await;
    let path = running.path.clone();
    let mut upload = running.client.upload_file().start().await.expect("open");
    for name in ["first", "second"] {
        upload
            .send(&part(name, "", &[1; 2 * PART_BYTES]))
            .await
            .expect("taken");
    }
    drop(upload);
    let _dir = running.stop().await;
    assert_eq!(names(&path.join("images")), [""; 0]);
    assert_eq!(names(&path.join("staging")), [""; 0]);
}

#[tokio::test]
async fn sums_come_in_lock_step() {
    let running = start(Server::new()).await;
    let mut sums = running.client.sum_data().start().await.expect("open");
    let mut total = 0;
    let first = sums.message().await.expect("at once").expect("at once");
    assert_eq!(first, StreamSumData::default());
    for (counter, number) in (0i32..).zip([1, 2, 3, -10, i32::MAX, i32::MIN]) {
        let message = StreamSumData {
            number,
            ..Default::default()
        };
        sums.send(&message).await.expect("taken");
        total += i64::from(number);
        let answer = sums.message().await.expect("an answer").expect("an answer");
        assert_eq!(answer.number, counter + 1);
        assert_eq!(answer.sum, i64::from(counter) + i64::from(number));
        assert_eq!(answer.total, total);
    }
    let mut rest = sums.finish();
    assert_eq!(rest.message().await.expect("the end"), None);
}

/// Sends and receives every message through one that it fills again.
struct Refilling;

impl StreamService for Refilling {
    async fn order_list(
        &self,
        _call: &Call,
        _search: OrderSearchParams,
        tx: &mut Sender<StreamOrderList>,
    ) -> Result<(), Status> {
        let mut message = StreamOrderList::default();
        for (id, order_sn) in [(1, "a longer number"), (2, ""), (3, "short")] {
            let order = message.order.get_or_insert_default();
            order.id = id;
            order.order_sn.clear();
            order.order_sn.push_str(order_sn);
            tx.send(&message).await?;
        }
        Ok(())
    }

    async fn upload_file(
        &self,
        _call: &Call,
        rx: &mut Streaming<StreamImageList>,
    ) -> Result<UploadResponse, Status> {
        let mut message = StreamImageList::default();
        let mut response = UploadResponse::default();
        while rx.merge(&mut message).await? {
            let image = message.image.get_or_insert_default();
            response.files.push(File {
                name: image.file_name.clone(),
                url: image.file.clone(),
                ..File::default()
            });
            // The file's name stays, until a message has another.
            image.file.clear();
        }
        Ok(response)
    }

    async fn sum_data(
        &self,
        _call: &Call,
        _rx: &mut Streaming<StreamSumData>,
        _tx: &mut Sender<StreamSumData>,
    ) -> Result<(), Status> {
        Err(Status::unimplemented("not asked for"))
    }
}

#[tokio::test]
async fn a_message_that_is_merged_into_keeps_its_room_and_what_the_next_does_not_say() {
    let served = serve(Server::new().add_service(StreamServiceServer::new(Refilling))).await;
    let channel = Channel::connect(&served.address).expect("an address");
    let client = StreamServiceClient::new(channel);

    let call = client.order_list(OrderSearchParams::default());
    let mut orders = call.start().await.expect("served");
    let mut message = StreamOrderList {
        order: Some(Order {
            order_sn: String::with_capacity(100),
            ..Order::default()
        }),
    };
    let room = message.order.as_ref().map(|order| order.order_sn.as_ptr());
    let mut seen = Vec::new();
    while orders.merge(&mut message).await.expect("orders") {
        let order = message.order.as_mut().expect("every message has one");
        seen.push((order.id, order.order_sn.clone()));
        assert_eq!(Some(order.order_sn.as_ptr()), room);
        order.order_sn.clear();
    }
    let expected = [(1, "a longer number"), (2, ""), (3, "short")];
    assert_eq!(seen, expected.map(|(id, sn)| (id, sn.to_owned())));
    assert!(!orders.merge(&mut message).await.expect("ended"));

    let mut upload = client.upload_file().start().await.expect("served");
    for (name, file) in [("one", "first"), ("", "second"), ("two", "")] {
        let image = Image {
            file_name: name.to_owned(),
            file: file.to_owned(),
            ..Image::default()
        };
        let message = StreamImageList { image: Some(image) };
        upload.send(&message).await.expect("open");
    }
    let files = upload.finish().await.expect("answered").files;
    let files = files.iter().map(|file| (&file.name[..], &file.url[..]));
    let expected = [("one", "first"), ("one", "second"), ("two", "")];
    assert_eq!(files.collect::<Vec<_>>(), expected);
}
