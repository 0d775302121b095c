// The words of the employees' page, and what WeCom adds to `wx`. For the type checker only.

declare namespace Staff {
  /** `stopped`: nothing can be done here, and `stop` says why. */
  type Phase = 'starting' | 'customer' | 'stopped';

  /** `misplaced`: not opened from a customer-service chat; `off`: the server does not bind by employees. */
  type Stop =
    | 'outside'
    | 'outdated'
    | 'misplaced'
    | 'no-customer'
    | 'no-permission'
    | 'not-staff'
    | 'off'
    | 'unknown'
    | Bind.Problem;

  /** What a call is for: who the customer is, a card for them, a binding by the code that they read out. */
  type Want = 'look' | 'card' | 'bind';

  interface Call {
    id: number;
    want: Want;
    /**
     * `identify` gets a code from WeCom, `login` trades it for a session, `locate` asks WeCom whose chat is open, `ask` is
     * the call itself. A card goes on: `recheck` asks once more whose chat is open, `send` hands it to that chat.
     */
    stage: 'identify' | 'login' | 'locate' | 'ask' | 'recheck' | 'send';
    loginRepeated: boolean;
    /** As it was when it was agreed to. */
    typed: string;
    /** Of the card. */
    path: string;
  }

  interface Binding {
    method: string;
    /** RFC 3339. */
    boundAt: string;
    /** How the company names the account. */
    label: string | null;
  }

  interface Customer {
    nickname: string | null;
    binding: Binding | null;
  }

  /** What is said about the last tap. `switched`: another chat is open than the one shown. */
  type Notice =
    | Bind.Problem
    | 'sent'
    | 'not-sent'
    | 'bound'
    | 'switched'
    | 'code-invalid'
    | 'conflict'
    | 'already-bound'
    | 'other-person';

  interface State {
    phase: Phase;
    stop: Stop | null;
    visible: boolean;
    inWecom: boolean;
    /** Never kept: WeCom wants a login of the same start before it says whose chat is open. */
    session: string | null;
    unproven: boolean;
    call: Call | null;
    lastId: number;
    customerId: string | null;
    customer: Customer | null;
    typed: string;
    notice: Notice | null;
    /** The server wants no further tries before. */
    heldUntil: number;
    ticking: boolean;
  }

  type Event =
    | { now: number; type: 'load'; inWecom: boolean }
    | { now: number; type: 'show' | 'hide' }
    | { now: number; type: 'timer' }
    | { now: number; type: 'typed'; text: string }
    | { now: number; type: 'refresh' | 'send-card' | 'bind' }
    | { now: number; type: 'bind-confirmed'; customerId: string; code: string }
    | Reply;

  type Reply =
    | { now: number; type: 'identified'; id: number; code: string }
    | { now: number; type: 'located'; id: number; entry: string; customerId: string }
    | { now: number; type: 'lost'; id: number; stop: Stop }
    | { now: number; type: 'card-sent' | 'card-failed' | 'card-cancelled'; id: number }
    | { now: number; type: 'no-answer'; id: number; problem: Bind.Problem }
    | Bind.Answer;

  type Effect =
    | Bind.Identify
    | Bind.Request
    | { type: 'abort'; id: number }
    | { type: 'locate'; id: number; timeoutMs: number }
    | { type: 'send-card'; id: number; path: string; timeoutMs: number }
    | { type: 'confirm-bind'; customerId: string; nickname: string | null; code: string }
    | { type: 'tick'; delayMs: number }
    | { type: 'stop-ticking' };

  interface Draft {
    state: State;
    effects: Effect[];
    now: number;
  }

  type Dispatch = (event: Untimed) => void;
  type Untimed<E = Event> = E extends Event ? Omit<E, 'now'> : never;

  interface QyOptions {
    success: (result: any) => void;
    fail: (error: any) => void;
    [option: string]: any;
  }

  /** There in WeCom only, and older versions have less of it. */
  type Qy = Partial<Record<'login' | 'getContext' | 'getCurExternalContact' | 'sendChatMessage', (options: QyOptions) => void>>;
}

declare namespace WechatMiniprogram {
  interface Wx {
    qy?: Staff.Qy;
  }
}
