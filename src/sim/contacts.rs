//! Customers, accounts, links, servicers and sessions as the API shows them: `customer/batchget`, `account/list`,
//! `add_contact_way`, `servicer/list`, `service_state/get` and `trans`.

use serde_json::{Value, json};

use super::{
    gate::Request,
    options::Servicer,
    people::{CodeKind, within},
    world::{Answer, Link, Refused, World},
};

const CUSTOMERS_MAX: usize = 100;
const ACCOUNTS_MAX: u32 = 100;
const SCENE_BYTES_MAX: usize = 32;

/// A mini-program page that a tap on a card opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardPage {
    /// Which mini program.
    pub appid: String,
    /// Its page with the query.
    pub pagepath: String,
}

impl World {
    /// `kf/customer/batchget`
    pub(super) fn batch_get(&mut self, request: &Request) -> Answer {
        let ids = request.field("external_userid_list").and_then(Value::as_array);
        let ids = ids.ok_or_else(|| Refused::parameter("external_userid_list"))?;
        if !(1..=CUSTOMERS_MAX).contains(&ids.len()) {
            return Err(Refused::parameter("external_userid_list"));
        }
        let with_context = match request.number("need_enter_session_context", 0)? {
            0 => false,
            1 => true,
            _ => return Err(Refused::parameter("need_enter_session_context")),
        };
        let (mut customers, mut invalid) = (Vec::new(), Vec::new());
        for id in ids {
            let id = id.as_str().ok_or_else(|| Refused::parameter("external_userid_list"))?;
            match self.profile(id, with_context) {
                Some(profile) => customers.push(profile),
                None => invalid.push(id),
            }
        }
        Ok(json!({"customer_list": customers, "invalid_external_userid": invalid}))
    }

    fn profile(&self, customer: &str, with_context: bool) -> Option<Value> {
        let person = self.people.get(customer)?;
        let now_s = self.now_s();
        let sessions =
            || self.sessions.iter().filter(|((of, _), _)| of == customer).map(|(_, session)| session);
        let is_recent = |at: Option<u64>| at.is_some_and(|at| within(at, now_s));
        if !sessions().any(|session| is_recent(session.consulted_at) || is_recent(session.entered_at)) {
            return None;
        }
        let mut profile = json!({
            "external_userid": customer,
            "nickname": person.nickname,
            "avatar": "http://wx.qlogo.cn/mmhead/fake/0",
            "gender": 0,
        });
        let fields = profile.as_object_mut()?;
        if let Some(unionid) = person.unionid.as_ref().filter(|_| self.switches.unionid_bound) {
            fields.insert("unionid".into(), json!(unionid));
        }
        let entered = sessions().filter(|session| is_recent(session.entered_at));
        let last =
            entered.max_by_key(|session| session.entered_at).and_then(|session| session.entered_by.as_ref());
        if let Some((scene, scene_param)) = last.filter(|_| with_context) {
            let mut context = json!({"scene": scene});
            if let (Some(text), Some(context)) = (scene_param, context.as_object_mut()) {
                context.insert("scene_param".into(), json!(text));
            }
            fields.insert("enter_session_context".into(), context);
        }
        Some(profile)
    }

    /// `kf/account/list`
    pub(super) fn account_list(&mut self, request: &Request) -> Answer {
        let offset = request.number("offset", 0)?;
        let limit = request.number("limit", ACCOUNTS_MAX)?;
        if !(1..=ACCOUNTS_MAX).contains(&limit) {
            return Err(Refused::parameter("limit"));
        }
        let told = !self.switches.no_manage_privilege;
        let rows = self.accounts.iter().skip(offset as usize).take(limit as usize).map(|account| {
            let mut row = json!({
                "open_kfid": account.open_kfid,
                "name": account.name,
                "avatar": "https://wework.qpic.cn/wwhead/fake/0",
            });
            if let Some(fields) = row.as_object_mut().filter(|_| told) {
                fields.insert("manage_privilege".into(), json!(account.api_managed));
            }
            row
        });
        Ok(json!({"account_list": rows.collect::<Vec<_>>()}))
    }

    /// `kf/add_contact_way`
    pub(super) fn add_contact_way(&mut self, request: &Request) -> Answer {
        let open_kfid = request.text("open_kfid")?;
        let scene = request.text("scene")?;
        self.named_account(open_kfid)?;
        let in_charset =
            scene.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if scene.len() > SCENE_BYTES_MAX || !in_charset {
            return Err(Refused::parameter("scene"));
        }
        Ok(json!({"url": self.link(open_kfid, scene)}))
    }

    /// The link of an account and a scene, always the same.
    pub(super) fn link(&mut self, open_kfid: &str, scene: &str) -> String {
        let public_id = self.ids.named(&format!("kfc/{open_kfid}"), "kfc", 20);
        let enc_scene = self.ids.named(&format!("link/{open_kfid}/{scene}"), "ENC", 40);
        let link = Link { account: open_kfid.to_owned(), scene: scene.to_owned() };
        self.links.insert(enc_scene.clone(), link);
        format!("https://work.weixin.qq.com/kf/{public_id}?enc_scene={enc_scene}")
    }

    /// What a tap on a link leads to: the link and its `scene_param`. `None` where WeCom finds it altered.
    pub(super) fn opened_link(&self, address: &str) -> Option<(Link, Option<String>)> {
        let address = url::Url::parse(address).ok()?;
        let is_ours = address.scheme() == "https" && address.host_str() == Some("work.weixin.qq.com");
        let mut enc_scene = None;
        let mut scene_param = None;
        for (name, value) in address.query_pairs() {
            match name.as_ref() {
                "enc_scene" if enc_scene.is_none() => enc_scene = Some(value.into_owned()),
                "scene_param" if scene_param.is_none() => scene_param = Some(value.into_owned()),
                _ => return None,
            }
        }
        let link = self.links.get(&enc_scene?)?.clone();
        let path = format!("/kf/{}", self.ids.named(&format!("kfc/{}", link.account), "kfc", 20));
        (is_ours && address.path() == path).then_some((link, scene_param))
    }

    /// `kf/servicer/list`
    pub(super) fn servicer_list(&mut self, request: &Request) -> Answer {
        let account = self.named_account(request.param("open_kfid"))?;
        Ok(json!({"servicer_list": account.servicers}))
    }

    /// `kf/service_state/get`
    pub(super) fn service_state_get(&mut self, request: &Request) -> Answer {
        let (open_kfid, customer) = self.session_named(request)?;
        let now_s = self.now_s();
        let session = self.session(&customer, &open_kfid);
        let state = session.state(now_s);
        Ok(match session.servicer.as_ref().filter(|_| state == 3) {
            Some(servicer) => json!({"service_state": state, "servicer_userid": servicer}),
            None => json!({"service_state": state}),
        })
    }

    /// `kf/service_state/trans`
    pub(super) fn service_state_trans(&mut self, request: &Request) -> Answer {
        let (open_kfid, customer) = self.session_named(request)?;
        let wanted = match request.field("service_state").and_then(Value::as_u64) {
            Some(state @ 0..=4) => u8::try_from(state).unwrap_or(4),
            _ => return Err(Refused::parameter("service_state")),
        };
        let servicer = request.text("servicer_userid")?.to_owned();
        let now_s = self.now_s();
        let state = self.session(&customer, &open_kfid).state(now_s);
        if state == 4 {
            return Err(Refused::new(95013, "session has been ended"));
        }
        let is_allowed = match (state, wanted) {
            (2, 1) => self.switches.queue_to_assistant,
            (0, 1..=4) | (1, 2..=4) | (2 | 3, 3 | 4) => true,
            _ => state == wanted && self.switches.trans_to_same_state,
        };
        if !is_allowed {
            return Err(Refused::new(95016, "forbidden session status transition"));
        }
        if wanted == 3 {
            self.receiving(&open_kfid, &servicer)?;
        }
        let session = self.session(&customer, &open_kfid);
        session.set_state(wanted, Some(servicer));
        let kind = match wanted {
            2 if !std::mem::replace(&mut session.was_queued, true) => Some(CodeKind::Queued),
            3 if !std::mem::replace(&mut session.was_taken, true) => Some(CodeKind::Taken),
            4 => Some(CodeKind::Ended),
            _ => None,
        };
        Ok(match kind {
            Some(kind) => json!({"msg_code": self.event_code(&customer, &open_kfid, kind, now_s)}),
            None => json!({}),
        })
    }

    fn session_named(&self, request: &Request) -> Result<(String, String), Refused> {
        let open_kfid = request.text("open_kfid")?;
        let customer = request.required("external_userid")?;
        self.managed_account(open_kfid)?;
        if !self.people.contains_key(customer) {
            return Err(Refused::new(40096, "invalid external userid"));
        }
        Ok((open_kfid.to_owned(), customer.to_owned()))
    }

    fn receiving(&self, open_kfid: &str, servicer: &str) -> Result<(), Refused> {
        if servicer.is_empty() {
            return Err(Refused::parameter("servicer_userid"));
        }
        let servicers = self.account(open_kfid).map_or(&[][..], |account| &account.servicers);
        let status = servicers.iter().find_map(|known| match known {
            Servicer::Member { userid, status, .. } if userid == servicer => Some(*status),
            _ => None,
        });
        match status {
            None => Err(Refused::new(95014, "not a servicer of this kf account, or not activated")),
            Some(0) => Ok(()),
            Some(_) => Err(Refused::new(95019, "servicer has stopped or suspended receiving")),
        }
    }
}
