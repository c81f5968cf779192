// Tests of http-cache-tests that contradict themselves, put right; each says in what. An id is that
// of the original with "corrected-" before it.
const body = '0123456789'

/// The originals answer "bytes=-5" of ten bytes with a Content-Range of six (4-9) and a body of
/// five; the last one with the first five bytes. Here the answer is right: it is that of ten bytes.
function partial (id, range, text) {
  return {
    name: `An optimal HTTP cache stores partial content and serves ${range} from it`,
    id: `corrected-partial-store-partial-reuse-partial${id}`,
    requests: [
      {
        request_headers: [['Range', 'bytes=-5']],
        response_status: [206, 'Partial Content'],
        response_headers: [
          ['Cache-Control', 'max-age=3600'], ['ETag', '"partial"'], ['Content-Range', 'bytes 0-9/10', false]
        ],
        response_body: body,
        expected_response_text: '56789',
        setup: true
      },
      {
        request_headers: [['Range', range]],
        expected_type: 'cached',
        expected_status: 206,
        expected_response_text: text
      }
    ]
  }
}

/// The originals take an answer for a cached one unless the origin made it, so that the error which
/// RFC 9111 §5.2.2.2 demands of a cache that cannot reach the origin counts as stale content.
function staleClose (directive) {
  return {
    name: `HTTP cache must not serve stale stored response when prohibited by \`Cache-Control: ${directive}\``,
    id: `corrected-stale-close-${directive}`,
    requests: [
      {
        response_headers: [['Cache-Control', `max-age=2, ${directive}`]],
        setup: true,
        pause_after: true
      },
      { disconnect: true, expected_status: 502, check_body: false }
    ]
  }
}

export default [
  {
    // The name, and its twin of two lines ("age-parse-prefix-twoline", which is the same message by
    // RFC 9110 §5.3), say "stale"; the original expects "cached".
    name: 'HTTP cache should consider a response with a `Age` header with `0, old` to be stale',
    id: 'corrected-age-parse-prefix',
    requests: [
      {
        response_headers: [['Date', 0], ['Cache-Control', 'max-age=3600'], ['Age', '0,7200', false]],
        setup: true,
        pause_after: true
      },
      { expected_type: 'not_cached' }
    ]
  },
  {
    // The original asks whether anything changed since 3000 s before the stored Date, which it has.
    name: 'An optimal HTTP cache responds to `If-Modified-Since` with a `304` when holding a fresh response with no `Last-Modified` but that `Date`',
    id: 'corrected-conditional-lm-fresh-no-lm',
    requests: [
      {
        response_headers: [['Cache-Control', 'max-age=10000'], ['Date', 0]],
        setup: true,
        pause_after: true
      },
      {
        request_headers: [['If-Modified-Since', 0]],
        magic_ims: true,
        expected_type: 'cached',
        expected_status: 304,
        setup_tests: ['expected_type']
      }
    ]
  },
  ...['must-revalidate', 'proxy-revalidate', 'no-cache', 's-maxage=2'].map(staleClose),
  partial('', 'bytes=-5', '56789'),
  partial('-byterange', 'bytes=6-8', '678'),
  partial('-absent', 'bytes=6-', '6789'),
  partial('-suffix', 'bytes=-1', '9')
]
