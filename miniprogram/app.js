/** The app itself has nothing to do: all is in the page. */
App({});
