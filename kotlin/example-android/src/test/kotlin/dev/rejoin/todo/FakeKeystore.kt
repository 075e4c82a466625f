/*
 * Test support: a keystore with the name of Android's, which Robolectric does not have. Keys are in memory.
 *
 * It supports what TokenStore uses: making, reading and deleting a secret key by its alias.
 */
package dev.rejoin.todo

import android.security.keystore.KeyGenParameterSpec
import java.io.InputStream
import java.io.OutputStream
import java.security.Key
import java.security.KeyStoreSpi
import java.security.Provider
import java.security.SecureRandom
import java.security.Security
import java.security.cert.Certificate
import java.security.spec.AlgorithmParameterSpec
import java.util.Collections
import java.util.Date
import java.util.Enumeration
import javax.crypto.KeyGenerator
import javax.crypto.KeyGeneratorSpi
import javax.crypto.SecretKey

/** The keys by alias. */
val keystore: MutableMap<String, SecretKey> = Collections.synchronizedMap(mutableMapOf())

/** Makes this the keystore of the process. */
fun installKeystore() {
    keystore.clear()
    if (Security.getProvider(NAME) == null) Security.addProvider(FakeKeystore())
}

private const val NAME = "AndroidKeyStore"

private class FakeKeystore : Provider(NAME, "1", "keys in memory") {
    init {
        putService(service("KeyStore", NAME) { Keys() })
        putService(service("KeyGenerator", "AES") { Generator() })
    }

    private fun service(type: String, algorithm: String, make: () -> Any): Service =
        object : Service(this, type, algorithm, "FakeKeystore", null, null) {
            override fun newInstance(parameter: Any?): Any = make()
        }
}

private class Generator : KeyGeneratorSpi() {
    private var alias = ""

    override fun engineInit(spec: AlgorithmParameterSpec, random: SecureRandom?) {
        alias = (spec as KeyGenParameterSpec).keystoreAlias
    }

    override fun engineInit(random: SecureRandom?) = throw UnsupportedOperationException()

    override fun engineInit(size: Int, random: SecureRandom?) = throw UnsupportedOperationException()

    override fun engineGenerateKey(): SecretKey = KeyGenerator.getInstance("AES", "SunJCE").generateKey().also { keystore[alias] = it }
}

private class Keys : KeyStoreSpi() {
    override fun engineLoad(stream: InputStream?, password: CharArray?) = Unit

    override fun engineGetKey(alias: String, password: CharArray?): Key? = keystore[alias]

    override fun engineDeleteEntry(alias: String) {
        keystore.remove(alias)
    }

    override fun engineAliases(): Enumeration<String> = Collections.enumeration(keystore.keys)

    override fun engineContainsAlias(alias: String): Boolean = alias in keystore

    override fun engineSize(): Int = keystore.size

    override fun engineIsKeyEntry(alias: String): Boolean = alias in keystore

    override fun engineIsCertificateEntry(alias: String): Boolean = false

    override fun engineGetCertificate(alias: String): Certificate? = null

    override fun engineGetCertificateChain(alias: String): Array<Certificate>? = null

    override fun engineGetCertificateAlias(certificate: Certificate): String? = null

    override fun engineGetCreationDate(alias: String): Date? = null

    override fun engineSetKeyEntry(alias: String, key: Key, password: CharArray?, chain: Array<Certificate>?) = throw UnsupportedOperationException()

    override fun engineSetKeyEntry(alias: String, key: ByteArray, chain: Array<Certificate>?) = throw UnsupportedOperationException()

    override fun engineSetCertificateEntry(alias: String, certificate: Certificate) = throw UnsupportedOperationException()

    override fun engineStore(stream: OutputStream?, password: CharArray?) = throw UnsupportedOperationException()
}
