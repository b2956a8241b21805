<?php
// Answers, under PHP's own server, with what PHP finds under app_session, as JSON.
$value = $_COOKIE['app_session'] ?? null;
$flat = [];
if ($value !== null) {
    $values = [$value];
    array_walk_recursive($values, function ($v) use (&$flat) { $flat[] = mb_latin1($v); });
}
function mb_latin1($bytes) {
    $out = '';
    foreach (unpack('C*', $bytes) as $b) {
        $out .= $b < 0x80 ? chr($b) : chr(0xc0 | $b >> 6) . chr(0x80 | $b & 0x3f);
    }
    return $out;
}
echo json_encode($flat, JSON_THROW_ON_ERROR);
