// What the page in a browser and whoever embeds it leave for each other on the window.

interface Window {
  kfbindHost?: any;
  kfbindPage?: any;
  kfbindHostFor?: any;
  kfbindOpenChat?: string;
  Page?: any;
}

declare module 'jsdom';
