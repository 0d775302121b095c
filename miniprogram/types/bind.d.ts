// The words of the page's state machine. For the type checker only; not part of the package that phones load.

declare namespace Bind {
  /**
   * `failed`: there never was an answer. `offered`: a card's question stands; `refused`: why that card does not bind. All
   * but `failed` stay on the screen while the network is away.
   */
  type Phase = 'starting' | 'unbound' | 'pending' | 'expired' | 'bound' | 'failed' | 'offered' | 'refused';

  /**
   * What a call is for. `status` asks at once, `poll` waits for news; `make` may be given the live code, `renew` not;
   * `look` asks whom a card's ticket would bind, `accept` binds by it.
   */
  type Want = 'status' | 'poll' | 'make' | 'renew' | 'unbind' | 'look' | 'accept';

  interface Call {
    id: number;
    want: Want;
    /** `identify` gets a code from WeChat, `login` trades it for a session, `ask` is the call itself. */
    stage: 'identify' | 'login' | 'ask';
    /** The server found one code of WeChat's spent already. */
    loginRepeated: boolean;
    startedAt: number;
  }

  interface Code {
    /** What is typed into the chat. */
    token: string;
    /** The same, grouped for the eye. */
    display: string;
    /** In milliseconds of this phone's clock: the server says how long, for phones' clocks are wrong. */
    expiresAt: number;
    /** Of the customer-service chat. */
    url: string;
    corpId: string;
  }

  interface Binding {
    method: string;
    /** RFC 3339. */
    boundAt: string;
    nickname: string | null;
  }

  /** Whose chat a card would bind. */
  interface Offer {
    nickname: string | null;
    /** RFC 3339. */
    expiresAt: string;
  }

  /** Why a card does not bind, for good. `invalid`: unknown, used or expired, which the server does not tell apart. */
  type Refusal = 'invalid' | 'off' | 'conflict' | 'other-person';

  /** Why a call failed. `busy` is 429; `wecom` 503 for want of a chat link; `refused` WeChat's verdict on the user. */
  type Problem =
    | 'offline'
    | 'timeout'
    | 'busy'
    | 'wecom'
    | 'wechat'
    | 'refused'
    | 'server'
    | 'session'
    | 'unexpected';

  /** What is said about the user's last tap, or about what happened elsewhere (`undone`). */
  type Notice =
    | Problem
    | 'code-copy-failed'
    | 'link-copy-failed'
    | 'chat-failed'
    | 'unbound'
    | 'undone'
    | 'declined'
    | 'already-bound';

  /** Asking for the status fails. */
  interface Trouble {
    problem: Problem;
    /** In a row. */
    failures: number;
    /** A single failed poll is repeated in silence. */
    shown: boolean;
    /** When it is asked again; null: not by itself. */
    retryAt: number | null;
  }

  interface State {
    phase: Phase;
    visible: boolean;
    canOpenChat: boolean;
    session: string | null;
    /** The session is fresh from a login, and no call has succeeded with it yet. */
    unproven: boolean;
    call: Call | null;
    lastId: number;
    /** Null: the server has not told us anything yet. */
    version: number | null;
    code: Code | null;
    /** The code ended before its time. */
    revoked: boolean;
    /** The clipboard holds the code, as far as it was our doing. */
    copied: boolean;
    linkCopied: boolean;
    opened: boolean;
    /** The chat could not be opened. */
    linkShown: boolean;
    /** Of the card that opened the page, until it is used or put aside. It stands nowhere else. */
    ticket: string | null;
    offer: Offer | null;
    refusal: Refusal | null;
    /** The user agreed, and we don't know what came of it. */
    accepted: boolean;
    /** Of the message that one may subscribe to; empty: nobody is asked. */
    templateId: string;
    /** The user was asked whether to subscribe, since the last binding. */
    templateAsked: boolean;
    /** The server wants no announcements. */
    windowOff: boolean;
    binding: Binding | null;
    /** Under the user's eyes, not earlier. */
    justBound: boolean;
    notice: Notice | null;
    trouble: Trouble | null;
    /** The server wants no further code made, and nothing undone, before. */
    heldUntil: number;
    ticking: boolean;
  }

  type Answer = {
    now: number;
    type: 'answer';
    id: number;
    status: number;
    body: any;
    retryAfterS: number | null;
  };

  /** `now` is this phone's clock in milliseconds. */
  type Reply =
    | { now: number; type: 'identified'; id: number; code: string }
    | { now: number; type: 'session'; id: number; session: string }
    | { now: number; type: 'no-answer'; id: number; problem: Problem }
    | Answer;

  type Event =
    | { now: number; type: 'load'; canOpenChat: boolean; session: string | null; templateId: string; ticket: string | null }
    | { now: number; type: 'show' | 'hide' }
    | { now: number; type: 'network'; connected: boolean }
    | { now: number; type: 'timer'; name: TimerName }
    | { now: number; type: TapName }
    | Outcome
    | Reply;

  /** What became of a tap on the phone. */
  type Outcome =
    | { now: number; type: 'copied'; what: Copied; text: string }
    | { now: number; type: 'copy-failed'; what: Copied }
    | { now: number; type: 'chat-opened' | 'chat-failed' }
    | { now: number; type: 'announced'; status: number; code: string | null };

  type TapName =
    | 'get-code'
    | 'new-code'
    | 'copy-code'
    | 'copy-link'
    | 'open-chat'
    | 'unbind'
    | 'unbind-confirmed'
    | 'accept'
    | 'decline'
    | 'retry';
  type TimerName = 'ask' | 'tick';
  type Copied = 'code' | 'link';

  interface Request {
    type: 'request';
    id: number;
    method: 'GET' | 'POST' | 'DELETE';
    path: string;
    body: object | null;
    session: string | null;
    timeoutMs: number;
  }

  interface Identify {
    type: 'identify';
    id: number;
    timeoutMs: number;
  }

  type Effect =
    | Identify
    | Request
    | { type: 'abort'; id: number }
    | { type: 'remember'; session: string | null }
    | { type: 'timer'; name: TimerName; delayMs: number }
    | { type: 'stop'; name: TimerName }
    | { type: 'copy'; what: Copied; text: string }
    | { type: 'open-chat'; url: string; corpId: string }
    | { type: 'announce'; session: string }
    | { type: 'subscribe'; templateId: string }
    | { type: 'confirm-unbind' }
    | { type: 'vibrate' };

  /** How a request ended. */
  type Ended = Extract<Untimed, { type: 'answer' | 'no-answer' }>;

  /** What `config.js` says; the meanings stand there. */
  interface Config {
    apiBase: string;
    unbindWord: string;
    subscribeTemplateId: string;
    cardImage: string;
    getSession: (() => Promise<string>) | null;
  }

  /** The line that says how things stand; `when` counts seconds, and is kept out of what screen readers announce. */
  interface Status {
    /** Its colour. */
    tone: 'calm' | 'busy' | 'good' | 'bad';
    text: string;
    when: string;
    retry: string;
    retryOff: boolean;
  }

  interface Step {
    text: string;
    spoken: string;
    done: boolean;
    current: boolean;
  }

  /** The next state in the making. */
  interface Draft {
    state: State;
    effects: Effect[];
    now: number;
  }

  type Dispatch = (event: Untimed) => void;

  /** An event before it has got its time: `Omit` that keeps the union. */
  type Untimed<E = Event> = E extends Event ? Omit<E, 'now'> : never;
}
