// Receives kfbind's webhooks with the JDK alone (17 or later): WEBHOOK_SECRET=whsec_… PORT=9000 java Receiver.java
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.*;
import java.util.concurrent.ConcurrentHashMap;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

class Receiver {
    static final byte[] KEY = Base64.getDecoder().decode(System.getenv("WEBHOOK_SECRET").replaceFirst("^whsec_", ""));
    static final Set<String> SEEN = ConcurrentHashMap.newKeySet(); // In production a table, in one transaction with what the event changes.

    static boolean isGenuine(String id, String timestamp, String signatures, byte[] body) throws Exception {
        if (!timestamp.matches("\\d{1,15}") || Math.abs(System.currentTimeMillis() / 1000 - Long.parseLong(timestamp)) > 300) return false; // Five minutes.
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(KEY, "HmacSHA256"));
        mac.update((id + "." + timestamp + ".").getBytes(StandardCharsets.UTF_8));
        byte[] expected = ("v1," + Base64.getEncoder().encodeToString(mac.doFinal(body))).getBytes(StandardCharsets.UTF_8);
        return Arrays.stream(signatures.split(" ")).anyMatch(one -> MessageDigest.isEqual(one.getBytes(StandardCharsets.UTF_8), expected));
    }

    public static void main(String[] arguments) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(System.getenv().getOrDefault("PORT", "9000"))), 0);
        server.createContext("/", exchange -> {
            byte[] body = exchange.getRequestBody().readAllBytes(); // The very bytes that were signed.
            var header = exchange.getRequestHeaders();
            String id = Objects.toString(header.getFirst("webhook-id"), ""), timestamp = Objects.toString(header.getFirst("webhook-timestamp"), "");
            boolean genuine = false;
            try {
                genuine = isGenuine(id, timestamp, Objects.toString(header.getFirst("webhook-signature"), ""), body);
            } catch (Exception none) { /* Not genuine then. */ }
            if (genuine && SEEN.add(id)) System.out.println(id + " " + new String(body, StandardCharsets.UTF_8)); // Parse it with the JSON library of your choice; do here what the event means.
            exchange.sendResponseHeaders(genuine ? 204 : 401, -1);
            exchange.close();
        });
        server.start();
        System.out.println("listening " + server.getAddress().getPort());
    }
}
